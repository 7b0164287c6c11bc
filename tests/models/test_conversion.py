"""`to_monte_carlo` and `from_monte_carlo`: different layers, the same weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.layers import MCDropout, MonteCarlo
from keras_dnn.models import from_monte_carlo, mc_predict, to_monte_carlo
from tests.models.mc_cases import normal


def everything():
    """Each kind of dropout, a batch norm with statistics, a nested and shared part."""
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, "selu"), layers.AlphaDropout(0.2)],
        name="inner",
    )
    x = keras.Input((6, 6, 3), name="images")
    y = layers.Conv2D(4, 3, name="conv")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.SpatialDropout2D(0.3, name="spatial")(y)
    y = layers.Reshape((8, 8))(y)
    y = layers.SimpleRNN(6, recurrent_dropout=0.3, name="recurrent")(y)
    y = inner(inner(y))
    y = layers.GaussianDropout(0.2, name="gaussian")(y)
    y = layers.Dropout(0.4, noise_shape=(None, 1), seed=3, name="dropout")(y)
    y = layers.Dense(3, "softmax", name="head")(layers.Dropout(0.0, name="none")(y))
    model = keras.Model(x, {"classes": y}, name="everything")
    model.get_layer("norm").moving_mean.assign([0.3, -0.2, 0.1, 0.5])
    return model


def layer_types(model):
    return {layer.name: type(layer).__name__ for layer in model._flatten_layers()}


def test_each_dropout_is_always_on_and_nothing_else_changes():
    model = everything()
    x = normal(4, 6, 6, 3)
    before = model.predict(x, verbose=0)["classes"]

    copy = to_monte_carlo(model)

    one, other = (copy.predict(x, verbose=0)["classes"] for _ in range(2))
    assert np.all(one != other)
    kinds = layer_types(copy)
    assert kinds["spatial"] == "MCSpatialDropout2D"
    assert kinds["gaussian"] == "MCGaussianDropout"
    assert kinds["dropout"] == "MCDropout"
    assert isinstance(copy.get_layer("recurrent"), MonteCarlo)
    assert kinds["none"] == "Dropout"
    assert "MCAlphaDropout" in kinds.values()
    assert copy.get_layer("dropout").noise_shape == (None, 1)
    assert copy.get_layer("dropout").seed == 3
    assert list(copy.output_names) == list(model.output_names)
    np.testing.assert_array_equal(model.predict(x, verbose=0)["classes"], before)


def test_samples_of_the_copy_have_the_mean_of_mc_predict():
    model, x, count = everything(), normal(4, 6, 6, 3), 4000
    copy = to_monte_carlo(model)
    # Rows have masks of their own, so that one call draws all.
    drawn = copy(np.repeat(x, count, axis=0))["classes"].numpy()
    drawn = drawn.reshape(4, count, 3)
    expected = mc_predict(model, x, 4 * count, seed=1)
    error = drawn.mean(axis=1) - expected.mean
    assert np.abs(error / (expected.std / np.sqrt(count))).max() < 4.5
    np.testing.assert_allclose(drawn.std(axis=1), expected.std, rtol=0.06)


def test_converting_there_and_back_gives_the_model():
    model, x = everything(), normal(4, 6, 6, 3)
    back = from_monte_carlo(to_monte_carlo(model))
    expected = model.predict(x, verbose=0)["classes"]
    np.testing.assert_array_equal(back.predict(x, verbose=0)["classes"], expected)
    assert layer_types(back) == layer_types(model)
    assert back.name == model.name


def test_the_copy_shares_no_weights():
    model, x = everything(), normal(4, 6, 6, 3)
    expected = model.predict(x, verbose=0)["classes"]
    copy = to_monte_carlo(model)
    for weight in copy.weights:
        weight.assign(weight + 1)
    np.testing.assert_array_equal(model.predict(x, verbose=0)["classes"], expected)


def test_the_copy_is_saved_and_trains(tmp_path):
    copy, x = to_monte_carlo(everything()), normal(8, 6, 6, 3)
    copy.compile("adam", "sparse_categorical_crossentropy")
    copy.fit(x, {"classes": np.arange(8) % 3}, verbose=0)
    copy.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    one, other = (loaded.predict(x, verbose=0)["classes"] for _ in range(2))
    assert np.all(one != other)
    plain = from_monte_carlo(loaded).predict(x, verbose=0)["classes"]
    expected = from_monte_carlo(copy).predict(x, verbose=0)["classes"]
    np.testing.assert_array_equal(plain, expected)


def test_layers_that_are_always_on_already_stay():
    stack = [keras.Input((5, 4)), MonteCarlo(layers.LSTM(4, dropout=0.3))]
    model = keras.Sequential([*stack, layers.Dropout(0.2), MCDropout(0.2)])
    copy = to_monte_carlo(model)
    kinds = [type(layer).__name__ for layer in copy.layers]
    assert kinds == ["MonteCarlo", "MCDropout", "MCDropout"]
    kinds = [type(layer).__name__ for layer in from_monte_carlo(copy).layers]
    assert kinds == ["LSTM", "Dropout", "Dropout"]


@pytest.mark.parametrize("rate", [None, 0.0])
def test_a_model_without_dropout_is_named(rate):
    stack = [] if rate is None else [layers.Dropout(rate)]
    model = keras.Sequential([keras.Input((3,)), *stack, layers.Dense(2)], name="mine")
    with pytest.raises(ValueError, match=r"model must have dropout .*'mine'"):
        to_monte_carlo(model)


def test_a_subclassed_model_is_refused():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def call(self, x):
            return self.dropout(x)

    with pytest.raises(ValueError, match="functional or a built Sequential"):
        to_monte_carlo(Mine())


# Seeds --------------------------------------------------------------------------------


class Jitter(layers.Layer):
    """Noise of one's own."""

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training:
            return x
        return x + keras.random.normal(keras.ops.shape(x), seed=self.generator)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def with_random_layer(kind, seed):
    keras.utils.set_random_seed(1)
    i = keras.Input((5, 4))
    if kind == "recurrent":
        y = layers.LSTM(4, dropout=0.5, recurrent_dropout=0.5, seed=seed)(i)
    elif kind == "attention":
        y = layers.MultiHeadAttention(2, 3, dropout=0.5, seed=seed)(i, i)
    else:
        y = Jitter(seed)(i)
    return keras.Model(i, y)


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("kind", ["recurrent", "attention", "own"])
def test_two_copies_are_equally_random_only_if_a_seed_was_given(kind, seed):
    model, x = with_random_layer(kind, seed), normal(2, 5, 4)
    one, other = (to_monte_carlo(model) for _ in range(2))
    found = one(x), other(x)
    assert np.array_equal(*found) == (seed is not None)
    if seed is None:
        assert not np.array_equal(model(x, training=True), found[0])
    # Their copies for training are too.
    back = (from_monte_carlo(copy) for copy in (one, one))
    assert np.array_equal(*(copy(x, training=True) for copy in back)) == bool(seed)
