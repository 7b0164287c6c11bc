"""Healthy networks for words, series, sets and graphs, unseen.

Do not read this file if you write or tune checks: its networks are there to judge
them, and judge only as long as nobody has looked.
"""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import Task, healthy, task
from diagnosed.parts import (
    TokenAndPosition,
    TransformerBlock,
    adam,
    from_logits,
    functional,
    pre_norm_block,
    sequential,
)


@healthy("transformer")
def text_transformer(rng):
    """The text classifier of the examples of keras.io."""
    x = keras.Input((16,), dtype="int32")
    h = TransformerBlock(32, 2, 32)(TokenAndPosition(16, 100, 32)(x))
    h = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(h))
    h = layers.Dropout(0.1)(layers.Dense(20, "relu")(h))
    model = functional(x, layers.Dense(2, "softmax")(h))
    return task(model, *data.reviews(rng), epochs=3)


@healthy("transformer")
def masked_transformer(rng):
    """Padding is masked; four classes."""
    x = keras.Input((16,), dtype="int32")
    h = TokenAndPosition(16, 100, 24, mask_zero=True)(x)
    h = TransformerBlock(24, 2, 48)(TransformerBlock(24, 2, 48)(h))
    h = layers.GlobalAveragePooling1D()(h)
    model = functional(x, layers.Dense(4, "softmax")(h), adam(0.002))
    return task(model, *data.reviews(rng, classes=4), epochs=3)


@healthy("transformer")
def language_model(rng):
    """The next word from those before it, norms before attention."""
    x = keras.Input((16,), dtype="int32")
    h = TokenAndPosition(16, 24, 32)(x)
    for _ in range(2):
        h = pre_norm_block(h, 32, causal=True)
    h = layers.Dense(24)(layers.LayerNormalization()(h))
    model = functional(x, h, adam(0.003), from_logits())
    return task(model, *data.sentences(rng))


@healthy("transformer")
def masked_words(rng):
    """Hidden words from those around them; the others have no weight."""
    text, _ = data.sentences(rng)
    hidden = rng.random(text.shape) < 0.2
    x = keras.Input((16,), dtype="int32")
    h = TransformerBlock(32, 2, 64, 0.0)(TokenAndPosition(16, 25, 32)(x))
    h = TransformerBlock(32, 2, 64, 0.0)(h)
    model = functional(x, layers.Dense(24, "softmax")(h), adam(0.003))
    given, weight = np.where(hidden, 24, text), hidden.astype("float32")
    rest = given[512:], text[512:], weight[512:]
    return Task(model, given[:512], text[:512], weight[:512], rest, epochs=6)


@healthy("transformer")
def series_transformer(rng):
    """Attention over a series, convolutions as feed-forward part."""
    x = keras.Input((32, 1))
    h = layers.Dense(16)(x)
    for _ in range(2):
        a = layers.LayerNormalization(epsilon=1e-6)(h)
        h = h + layers.MultiHeadAttention(2, 8, dropout=0.1)(a, a)
        f = layers.LayerNormalization(epsilon=1e-6)(h)
        f = layers.Conv1D(32, 3, padding="same", activation="relu")(f)
        h = h + layers.Conv1D(16, 3, padding="same")(f)
    h = layers.Dense(32, "relu")(layers.GlobalAveragePooling1D()(h))
    model = functional(x, layers.Dense(3, "softmax")(h), adam(0.002))
    return task(model, *data.waves(rng))


@healthy("recurrent")
def stacked_lstm(rng):
    """Two LSTMs with dropout between them, on waves."""
    body = [
        layers.LSTM(24, return_sequences=True),
        layers.Dropout(0.2),
        layers.LSTM(24),
    ]
    model = sequential(
        (32, 2), *body, layers.Dense(3, "softmax"), optimizer=adam(0.005)
    )
    return task(model, *data.waves(rng, channels=2), epochs=6)


@healthy("recurrent")
def addition(rng):
    """Two digits in, their sum out: an encoder and a decoder."""
    a, b = rng.integers(0, 10, (2, 900))
    x = np.stack([a, np.full(900, 10), b], axis=1)
    y = np.stack([(a + b) // 10, (a + b) % 10], axis=1)
    body = [
        layers.Embedding(11, 8),
        layers.GRU(48),
        layers.RepeatVector(2),
        layers.GRU(48, return_sequences=True),
        layers.Dense(10, "softmax"),
    ]
    model = sequential((3,), *body, dtype="int32", optimizer=adam(0.005))
    return task(model, x.astype("int32"), y.astype("int32"), epochs=6)


@healthy("convolution in time")
def bag_of_words(rng):
    """Counts of words, many of them zero, and a dense network."""
    x, y = data.reviews(rng, classes=3)
    bags = (x[:, :, None] == np.arange(1, 100)).any(axis=1).astype("float32")
    body = [layers.Dense(16, "relu"), layers.Dropout(0.3), layers.Dense(3, "softmax")]
    return task(sequential((99,), *body, optimizer=adam(0.003)), bags, y)


@healthy("sets and graphs")
def graph_convolution(rng):
    """Normalised neighbours twice, then the mean of all nodes."""
    features, adjacency, y = data.graphs(rng)
    inputs = [keras.Input((10, 4)), keras.Input((10, 10))]
    h = inputs[0]
    for _ in range(2):
        h = layers.ReLU()(ops.matmul(inputs[1], layers.Dense(16)(h)))
    h = layers.GlobalAveragePooling1D()(h)
    out = layers.Dense(1, "sigmoid")(h)
    model = functional(inputs, out, adam(0.005), "binary_crossentropy")
    return task(model, [features, adjacency], y[:, None], epochs=3)


@healthy("sets and graphs")
def point_net(rng):
    """Points and a learnt rotation whose kernel starts at zero, its bias at one."""
    y = rng.integers(0, 3, data.ROWS)
    x = rng.normal(size=(data.ROWS, 24, 3))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    x[..., 2] *= np.array([1.0, 0.3, 2.0])[y][:, None]
    inputs = keras.Input((24, 3))
    t = layers.GlobalMaxPooling1D()(layers.Conv1D(16, 1, activation="relu")(inputs))
    start = keras.initializers.Constant(np.eye(3).ravel())
    t = layers.Dense(9, kernel_initializer="zeros", bias_initializer=start)(t)
    h = layers.Dot((2, 1))([inputs, layers.Reshape((3, 3))(t)])
    h = layers.Conv1D(32, 1, activation="relu")(h)
    h = layers.Dense(16, "relu")(layers.GlobalMaxPooling1D()(h))
    model = functional(inputs, layers.Dense(3, "softmax")(h), adam(0.003))
    return task(model, x.astype("float32"), y.astype("int32"))
