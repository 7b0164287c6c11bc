"""The masks of padded texts, which Keras attaches to tensors, survive sampling."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import export_monte_carlo, mc_predict
from tests.models.mc_cases import NEVER

WORDS = np.random.default_rng(0).integers(1, 9, (4, 7))
WORDS[:2, 3:] = 0


class Block(layers.Layer):
    """The block of a transformer; masks reach the attention inside by themselves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention = layers.MultiHeadAttention(2, 3, dropout=NEVER)

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return x + self.attention(x, x)


class LaterSteps(layers.Layer):
    """Drops the first two steps of a sequence, and of its mask."""

    def call(self, x):
        return x[:, 2:]

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[:, 2:]


def attend(x, y):
    return layers.MultiHeadAttention(2, 3)(x, y)


def dropped(x):
    return layers.Dropout(NEVER)(x)


def nested(x):
    inside = keras.Input((7, 4))
    return keras.Model(inside, attend(inside, dropped(inside)))(x)


def two_masks(x):
    other = LaterSteps()(x)
    return attend(dropped(x), dropped(other))


BODIES = {
    "LSTM": layers.LSTM(4, dropout=NEVER, return_sequences=True),
    "GRU": lambda x: layers.GRU(4, return_sequences=True)(dropped(x)),
    "Bidirectional": layers.Bidirectional(
        layers.LSTM(3, recurrent_dropout=NEVER, return_sequences=True)
    ),
    "MultiHeadAttention": lambda x: attend(dropped(x), dropped(x)),
    "dropout in attention": lambda x: layers.MultiHeadAttention(2, 3, dropout=NEVER)(
        query=x, value=x, use_causal_mask=True
    ),
    "Attention": lambda x: layers.Attention(dropout=NEVER)([x, x]),
    "pooling": lambda x: layers.Dense(4)(dropped(x)),
    "block": Block(),
    "computed mask": lambda x: attend(LaterSteps()(dropped(x)), LaterSteps()(x)),
    "nested": nested,
    "two masks": two_masks,
    "dropout before and after": lambda x: dropped(attend(x, dropped(x))),
}


def text_model(body):
    keras.utils.set_random_seed(1)
    x = keras.Input((7,), dtype="int32")
    y = body(layers.Embedding(9, 4, mask_zero=True)(x))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))


SLOW = ("LSTM", "GRU", "Bidirectional")


@pytest.mark.filterwarnings("ignore:Layer '.*does not support masking")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, body in BODIES.items()
    ],
)
def test_samples_do_not_see_the_padding(body):
    model = text_model(body)
    expected = np.array(model(WORDS))
    longer = np.array(model(np.where(WORDS, WORDS, 5)))
    assert np.abs(longer - expected).max() > 1e-3  # The masks matter.
    found = mc_predict(model, WORDS, 3, batch_size=3, seed=1, verbose=0)
    np.testing.assert_allclose(found.mean, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["folder", "mc.onnx"])
def test_exported_samples_do_not_see_the_padding(file, tmp_path):
    model = text_model(BODIES["MultiHeadAttention"])
    predict = export_monte_carlo(model, tmp_path / file, 3, seed=1)
    np.testing.assert_allclose(predict(WORDS)["mean"], model(WORDS), atol=1e-6)


def test_coherent_samples_do_not_see_the_padding():
    model = text_model(BODIES["two masks"])
    found = mc_predict(model, WORDS, 3, seed=1, masks="coherent", verbose=0)
    np.testing.assert_allclose(found.mean, model(WORDS), atol=1e-6)


def test_a_masking_layer_of_series():
    keras.utils.set_random_seed(1)
    x = keras.Input((5, 3))
    y = attend(dropped(layers.Masking()(x)), dropped(x))
    model = keras.Model(x, layers.GlobalAveragePooling1D()(y))
    series = np.random.default_rng(1).normal(size=(4, 5, 3)).astype("float32")
    series[:2, 2:] = 0
    found = mc_predict(model, series, 3, seed=1, verbose=0)
    np.testing.assert_allclose(found.mean, model(series), atol=1e-6)
