"""Correct gradients pass, wrong ones do not; kinks are no errors; nothing changes."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.diagnostics import check_gradients, preflight
from keras_dnn.diagnostics._gradients.lines import drawn
from tests.diagnostics import networks, random_networks
from tests.keras_versions import needs_keras

layers = keras.layers

SEEDS = (0, 2, 4, 7, 8, 9, 11, 13)
"""Of small networks of several kinds."""


class Scaled(layers.Layer):
    """The identity, with a gradient that is off by a factor."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        factor = self.factor

        @tf.custom_gradient
        def identity(z):
            return z * 1.0, lambda upstream: factor * upstream

        return identity(x)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def dense(*middle, activation="tanh"):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(6, activation, kernel_regularizer="l2"),
            *middle,
            layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_correct_gradients_pass():
    found = check_gradients(dense(), *networks.digits())
    assert found.passed
    assert found.difference < 1e-7
    assert found.differences.shape == (4,)
    assert list(found.by_variable) == list(found.names)
    assert "passed" in str(found)
    assert "seed 0" in str(found)


@pytest.mark.parametrize("factor", [1.05, 0.95, 1.001, -1.0, 0.0])
def test_a_wrong_factor_is_found(factor):
    model = dense(Scaled(factor))
    found = check_gradients(model, *networks.digits())
    assert not found.passed
    assert "WRONG" in str(found)
    # Gradients are correct above the layer; below it, those of the penalty are.
    assert (found.differences[2:] < 1e-7).all()
    assert found.differences[1] == pytest.approx(
        abs(1 - factor) / (1 + abs(factor)), rel=1e-3
    )


def test_the_numbers_are_those_of_a_closed_form():
    """Of the squared error of a linear layer."""
    rng = np.random.default_rng(3)
    x, y, w = rng.normal(size=(7, 3)), rng.normal(size=(7, 2)), rng.random(7)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    found = check_gradients(model, x, y, sample_weight=w)
    kernel, bias = (v.numpy().astype("float64") for v in model.trainable_variables)
    error = (x @ kernel + bias - y) * w[:, None]
    np.testing.assert_allclose(
        found.automatic[0], (x.T @ error / 7).ravel(), rtol=1e-12
    )
    np.testing.assert_allclose(found.numeric[0], (x.T @ error / 7).ravel(), rtol=1e-8)
    np.testing.assert_allclose(found.numeric[1], error.sum(axis=0) / 7, rtol=1e-8)
    total = np.concatenate(found.automatic), np.concatenate(found.numeric)
    np.testing.assert_allclose(
        found.difference,
        np.linalg.norm(total[0] - total[1])
        / (np.linalg.norm(total[0]) + np.linalg.norm(total[1])),
        rtol=1e-6,
        atol=1e-16,
    )


def test_coordinates_are_drawn():
    model = dense()
    some = check_gradients(model, *networks.digits(), coordinates=5, seed=4)
    assert [len(part) for part in some.coordinates] == [5, 5, 5, 4]
    again = check_gradients(model, *networks.digits(), coordinates=5, seed=4)
    other = check_gradients(model, *networks.digits(), coordinates=5, seed=5)
    assert (some.coordinates[0] == again.coordinates[0]).all()
    assert (some.coordinates[0] != other.coordinates[0]).any()
    assert other.seed == 5


# Kinks --------------------------------------------------------------------------------


def test_a_point_on_a_kink_is_no_error():
    """Without inputs and biases all units start exactly on the kink."""
    model = dense(activation="relu")
    x, y = networks.digits()
    found = check_gradients(model, 0 * x, y)
    assert found.passed
    assert found.kinks[1] > 0


def test_a_kink_within_the_step_does_not_matter():
    model = dense(activation="relu")
    model.layers[0].bias.assign(np.full(6, 2e-6))
    x, y = networks.digits()
    found = check_gradients(model, 0 * x, y)
    assert found.passed
    assert not found.kinks.any()


def test_a_wrong_gradient_is_not_excused_by_kinks():
    model = dense(Scaled(1.05), activation="relu")
    assert not check_gradients(model, *networks.digits()).passed


class Kinks(layers.Layer):
    """Has kinks at zero that bend, add up or cancel."""

    def call(self, x):
        relu = keras.ops.relu
        cancelling = relu(x) - relu(-x)  # The identity; its automatic slope is 0.
        bent = relu(x) * keras.ops.exp(3 * x) - relu(-x) * (1 - 5 * x)
        tied = keras.ops.max(keras.ops.stack([x, 2 * x, -x]), axis=0)
        return keras.ops.concatenate([cancelling, bent, tied], axis=-1)


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_many_kinks_on_one_coordinate(factor):
    """Rows of zeros put both biases on the kinks of all units at once."""
    keras.utils.set_random_seed(0)
    parts = [layers.Dense(3), Kinks(), Scaled(factor), layers.Dense(2)]
    model = keras.Sequential([keras.Input((2,)), *parts])
    x = np.random.default_rng(0).normal(size=(4, 2))
    x[:3] = 0.0
    found = check_gradients(model, x, x + 1, loss="mse", verbose=0)
    assert found.passed is (factor == 1.0), str(found)
    if found.passed:
        assert found.kinks.tolist() == [0, 3, 0, 0]
        assert (found.differences < 1e-6).all()
    else:
        assert found.kinks.tolist() == [0, 0, 0, 0]
        np.testing.assert_allclose(found.differences[0], 0.01 / 2.01, rtol=1e-2)


@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_with_black_borders(seed):
    """A bias of zero that black pixels meet is on as many kinks as there are."""
    keras.utils.set_random_seed(seed)
    pictures = np.zeros((4, 12, 12, 1))
    pictures[:, 4:8, 4:8] = np.random.default_rng(0).random((4, 4, 4, 1))
    parts = [
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(2, "softmax"),
    ]
    model = keras.Sequential([keras.Input((12, 12, 1)), *parts])
    found = check_gradients(
        model,
        pictures,
        np.array([0, 1, 0, 1]),
        loss="sparse_categorical_crossentropy",
        coordinates=4,
        verbose=0,
    )
    assert found.passed, str(found)
    assert found.kinks[1] > 0


# Where a wrong gradient hides ---------------------------------------------------------


def test_a_wrong_gradient_below_a_layer_of_zeros_is_found():
    """At the weights themselves it is zero, as the right one is."""
    keras.utils.set_random_seed(0)
    parts = [layers.Dense(3), Scaled(1.01), layers.Dense(2, kernel_initializer="zeros")]
    model = keras.Sequential([keras.Input((2,)), *parts])
    x = np.random.default_rng(0).normal(size=(4, 2))
    found = check_gradients(model, x, x, loss="mse", verbose=0)
    wrong = found.differences > found.tolerance
    assert wrong.tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.differences[:2], 0.01 / 2.01, rtol=1e-2)
    assert all((w.numpy() == 0).all() for w in model.layers[-1].trainable_variables)


class Table(layers.Layer):
    """Adds up all entries of a table; the slopes of some of them are wrong."""

    def build(self, shape):
        self.table = self.add_weight(shape=(500,), name="table")

    def call(self, x):
        @tf.custom_gradient
        def total(entries):
            mask = np.arange(500) >= 3
            return tf.reduce_sum(entries), lambda upstream: upstream * mask

        return x + total(tf.convert_to_tensor(self.table))


def test_a_few_wrong_entries_among_many_are_found():
    """No coordinate that is drawn shows them, but all entries together do."""
    model = keras.Sequential([keras.Input((2,)), Table()])
    x = np.random.default_rng(0).normal(size=(4, 2))
    found = check_gradients(model, x, 2 * x, loss="mse", coordinates=4, verbose=0)
    assert found.coordinates[0].min() >= 3
    np.testing.assert_allclose(found.automatic[0], found.numeric[0], rtol=1e-6)
    assert not found.passed


def test_coordinates_are_drawn_where_the_gradient_is_not_zero():
    """Of an embedding most rows are in no example."""
    gradient = np.zeros(1000)
    gradient[[3, 500, 501]] = 1.0
    entries = drawn(np.random.default_rng(0), gradient, 8)
    assert {3, 500, 501} <= set(entries.tolist())
    assert len(np.unique(entries)) == 8
    assert (np.diff(entries) > 0).all()
    gradient[:] = 1.0
    assert len(drawn(np.random.default_rng(0), gradient, 8)) == 8
    assert drawn(np.random.default_rng(0), gradient[:3], 8).tolist() == [0, 1, 2]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_scale_of_the_loss_does_not_matter(scale):
    keras.utils.set_random_seed(0)
    parts = [layers.Dense(3, "tanh"), Scaled(1.01), layers.Dense(2)]
    model = keras.Sequential([keras.Input((2,)), *parts])
    x = np.random.default_rng(0).normal(size=(4, 2))

    def loss(target, output):
        return scale * keras.losses.mean_squared_error(target, output)

    found = check_gradients(model, x, x, loss=loss, coordinates=2, verbose=0)
    wrong = found.differences > found.tolerance
    assert wrong.tolist() == [True, True, False, False]


@needs_keras(15, "compute an L1 penalty in float64")
@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks(seed):
    """benchmarks/compare_gradient_checks.py has two hundred."""
    model, x, y, training = random_networks.network(seed)
    options = {"training": training, "coordinates": 4, "verbose": 0}
    right = check_gradients(model, x, y, **options)
    assert right.passed, str(right)
    wrong = random_networks.some_weight(right, seed)
    model, x, y, _ = random_networks.network(seed, wrong)
    found = check_gradients(model, x, y, **options)
    assert not found.differences[wrong] <= found.tolerance, str(found)


# What stays fixed ---------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_dropout_and_batch_norm(training):
    model = dense(layers.BatchNormalization(), layers.Dropout(0.5))
    found = check_gradients(model, *networks.digits(), training=training)
    assert found.passed, str(found)


def test_nothing_changes():
    model = dense(layers.BatchNormalization(), layers.Dropout(0.5, seed=3))
    model.fit(*networks.digits(), verbose=0)
    variables = [
        *model.variables,
        *model.optimizer.variables,
        model.layers[2].seed_generator.state,
    ]
    before = [np.asarray(v.value) for v in variables]
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    check_gradients(model, *networks.digits(), training=True)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    for old, new in zip(before, variables, strict=True):
        np.testing.assert_array_equal(old, np.asarray(new.value))
    assert keras.config.floatx() == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_float_types_are_restored_after_an_error():
    with pytest.raises(ValueError, match="loss must be given"):
        check_gradients(keras.Sequential([keras.Input((2,))]), np.ones((1, 2)), None)
    with pytest.raises(ValueError):  # noqa: PT011
        check_gradients(dense(), np.ones((2, 7)), np.ones(2))
    assert keras.config.floatx() == "float32"


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_other_types(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = dense()
    finally:
        keras.config.set_dtype_policy("float32")
    assert check_gradients(model, *networks.digits()).passed


# Kinds of models ----------------------------------------------------------------------


def test_embedding_attention_and_recurrence():
    assert check_gradients(
        networks.transformer(1), *networks.sequences(), coordinates=4
    ).passed
    assert check_gradients(
        networks.recurrent(layers.LSTM), *networks.series(), coordinates=6
    ).passed


def test_several_outputs_with_weights():
    x, y = networks.digits()
    inputs = keras.Input((20,))
    h = layers.Dense(5, "tanh")(inputs)
    model = keras.Model(
        inputs,
        {
            "a": layers.Dense(4, "softmax", name="a")(h),
            "b": layers.Dense(1, name="b")(h),
        },
    )
    model.compile(
        "sgd",
        {"a": keras.losses.SparseCategoricalCrossentropy(), "b": "mse"},
        loss_weights={"a": 1.0, "b": 3.0},
    )
    targets = {"a": y, "b": x[:, :1]}
    found = check_gradients(model, x, targets)
    assert found.passed
    model.compile("sgd", {"a": "sparse_categorical_crossentropy", "b": "mse"})
    other = check_gradients(model, x, targets)
    assert abs(found.automatic[-1] / other.automatic[-1] - 3.0).max() < 1e-9


def test_frozen_layers_are_left_out():
    model = dense()
    model.layers[0].trainable = False
    assert len(check_gradients(model, *networks.digits()).names) == 2


def test_a_subclassed_model_needs_no_config():
    class Own(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    model = Own(layers.Dense(1))
    model.compile("sgd", "mse")
    model(np.ones((2, 3)))
    found = check_gradients(model, np.ones((2, 3)), np.ones((2, 1)))
    assert found.passed
    assert [len(slopes) for slopes in found.automatic] == [3, 1]


def test_the_result_is_drawn():
    found = check_gradients(dense(), *networks.digits(), coordinates=2)
    assert found.plot().axes[0].get_title(loc="left") == "Gradient check"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinates": 0}, "coordinates must be a positive integer"),
        ({"tolerance": 0.0}, "tolerance must be a number"),
        ({"seed": -1}, "seed must be"),
        ({"training": 1}, "training must be True or False"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        check_gradients(dense(), *networks.digits(), **options)


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_refuses_a_quantised_model(mode):
    """Central differences of a staircase would call right gradients wrong."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="d")])
    model.layers[0].quantize(mode)
    x = np.ones((3, 4))
    with pytest.raises(ValueError, match=f"not be quantised.*'d' of {mode}"):
        check_gradients(model, x, x[:, :2], loss="mse")


class SquareRoot(keras.layers.Layer):
    """Its slope is infinite at zero, which a dead unit below turns into NaN."""

    def call(self, x):
        return keras.ops.sqrt(x)


class Scalar(keras.layers.Layer):
    """Multiplies by a weight without axes, and has one without entries."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.empty = self.add_weight(shape=(0, 2), name="empty")

    def call(self, x):
        wrong = self.factor * self.scale * keras.ops.stop_gradient(x)
        exact = keras.ops.stop_gradient((1 - self.factor) * self.scale)
        return wrong + exact * x + keras.ops.sum(self.empty)

    def get_config(self):
        return {"factor": self.factor}


def nonfinite_check(kind):
    keras.utils.set_random_seed(0)
    root = [SquareRoot(name="root")] if kind == "gradient" else []
    parts = [keras.layers.Dense(8, "relu", name="first"), *root, keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((6,)), *parts], name="net")
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    y = x[:, :1].copy()
    if kind == "weights":
        model.layers[0].bias.assign(np.full(8, np.nan))
    if kind in "xy":
        {"x": x, "y": y}[kind][3, 0] = np.inf
    return check_gradients(model, x, y, coordinates=4, verbose=0)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("gradient", "the gradient that net/root passes down is not finite"),
        ("weights", "the weights of net/first are not finite"),
        ("x", "x contains NaN or infinite values"),
        ("y", "y contains NaN or infinite values"),
    ],
)
def test_what_is_not_finite_has_failed(kind, place):
    result = nonfinite_check(kind)
    assert not result.passed
    assert np.isnan(result.difference)
    assert np.isnan(result.by_variable["net/first/kernel"])
    assert result.nonfinite == place
    assert "FAILED" in str(result)
    assert place in str(result)


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (0.5, False)])
def test_a_weight_without_axes_is_moved(factor, passed):
    model = keras.Sequential([keras.Input((2,)), Scalar(factor)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 2))
    result = check_gradients(model, x, 3 * x, verbose=0)
    # The mean of (s - 3)^2 x^2 has the slope 2 (s - 3) mean(x^2) at s = 1.
    np.testing.assert_allclose(result.numeric[0], [-4 * np.mean(x**2)], rtol=1e-6)
    assert result.passed is passed
    assert result.automatic[1].shape == (0,)


def test_data_in_batches_and_in_lists():
    i, j = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([i, j], keras.layers.Dense(1)(keras.layers.Add()([i, j])))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(4, 2))
    lists = check_gradients(model, [x, x], x[:, :1], verbose=0)
    data = tf.data.Dataset.from_tensor_slices(((x, x), x[:, :1])).batch(4)
    batched = check_gradients(model, data, verbose=0)
    assert lists.passed
    np.testing.assert_array_equal(lists.automatic[0], batched.automatic[0])
    with pytest.raises(ValueError, match=r"same length.*x of 4 and 4; y of 3"):
        check_gradients(model, [x, x], x[:3, :1], verbose=0)
    with pytest.raises(ValueError, match="y must be given"):
        check_gradients(model, [x, x], verbose=0)


def test_labels_out_of_range_are_refused_and_ignored_ones_are_not():
    x, y = np.ones((4, 3)), np.array([0, 1, 2, -1])
    for ignored in (None, -1):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")])
        loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=ignored)
        model.compile("sgd", loss)
        names = [f.name for f in preflight(model, x, y, verbose=0).findings]
        assert ("labels" in names) == (ignored is None)
        if ignored is None:
            with pytest.raises(ValueError, match=r"labels from 0 to 2.*from -1 to 2"):
                check_gradients(model, x, y, verbose=0)
        else:
            assert check_gradients(model, x, y, verbose=0).passed


# Losses of other precision


class Endpoint(keras.layers.Layer):
    """Adds a loss that it keeps, which is made in float32."""

    def __init__(self):
        super().__init__()
        self.loss_fn = keras.losses.MeanSquaredError()

    def call(self, inputs):
        self.add_loss(self.loss_fn(keras.ops.zeros_like(inputs), inputs))
        return inputs


def test_a_loss_that_a_layer_keeps_is_computed_in_float64():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), Endpoint()])
    model.compile("sgd")
    x = np.random.default_rng(0).normal(size=(4, 3))
    result = check_gradients(model, x, verbose=0)
    assert result.passed
    assert result.difference < 1e-8
    assert model.layers[-1].loss_fn.dtype == "float32"


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_loss_that_is_cast_to_float32_is_checked_with_larger_steps(factor):
    def narrow(y, y_pred):
        error = keras.ops.cast(y_pred - y, "float32")
        return keras.ops.cast(keras.ops.mean(error**2, axis=-1), "float64")

    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(2), Scaled(factor)]
    model = keras.Sequential([keras.Input((3,)), *parts])
    x = np.random.default_rng(0).normal(size=(4, 3))
    found = check_gradients(model, x, x[:, :2], loss=narrow, verbose=0)
    assert found.tolerance == 2.5e-3
    assert found.passed is (factor == 1.0), str(found)


def test_the_classes_are_those_of_the_output_of_a_layer_used_twice():
    embedding = keras.layers.ReversibleEmbedding(7, 3)
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, embedding(embedding(inputs), reverse=True))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    tokens = np.array([[1, 6], [0, 5]])
    assert check_gradients(model, tokens, tokens, verbose=0).passed
    with pytest.raises(ValueError, match="from 0 to 6"):
        check_gradients(model, tokens, tokens + 1, verbose=0)
