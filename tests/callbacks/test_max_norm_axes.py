"""`MaxNorm`: which weights it bounds, and over which axes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import MaxNorm
from tests.callbacks.harness import fit, leftovers, network, regression
from tests.test_kernel_axes import built, influence, neurons

layers = keras.layers
RADIUS = 0.4
DATA = regression(20, scale=3.0)


def norms_of(kernel, axes):
    return np.sqrt(np.sum(kernel.numpy().astype("float64") ** 2, axis=axes))


@pytest.mark.parametrize(
    "kind", ["dense", "einsum over two", "grouped", "transposed 2D", "depthwise 2D"]
)
def test_the_vector_of_a_neuron_is_what_its_output_depends_on(kind):
    layer, shape = built(kind)
    x = tf.random.normal((1, *shape)) + 3.0
    kernel = layer.kernel
    whole = neurons(influence(layer, kernel, x))
    start = 3.0 * np.sign(kernel.numpy()) + kernel.numpy()
    kernel.assign(start)
    bounded(layer, x, shape)
    after = kernel.numpy().reshape(-1).astype("float64")
    before = start.reshape(-1).astype("float64")
    assert sum(row.sum() for row in whole) == after.size  # a partition
    for row in whole:
        norm = np.linalg.norm(before[row])
        assert norm > RADIUS
        np.testing.assert_allclose(after[row], before[row] * RADIUS / norm, rtol=1e-6)


def bounded(layer, x, shape):
    """Trains at a rate of almost nothing: what is left is the first projection."""
    model = keras.Sequential([keras.Input(shape), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, (x, np.zeros_like(model(x))), MaxNorm(RADIUS))


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (
            lambda: layers.SeparableConv1D(3, 2, depth_multiplier=2),
            (3, 2),
            {"depthwise_kernel": 0, "pointwise_kernel": (0, 1)},
        ),
        (
            lambda: layers.SeparableConv2D(3, 2),
            (3, 3, 2),
            {"depthwise_kernel": (0, 1), "pointwise_kernel": (0, 1, 2)},
        ),
        (lambda: layers.LSTM(2), (3, 2), {"kernel": 0, "recurrent_kernel": 0}),
        (lambda: layers.GRU(2), (3, 2), {"kernel": 0, "recurrent_kernel": 0}),
        (lambda: layers.SimpleRNN(2), (3, 2), {"kernel": 0, "recurrent_kernel": 0}),
        (
            lambda: layers.Bidirectional(layers.LSTM(2)),
            (3, 2),
            {"kernel": 0, "recurrent_kernel": 0},
        ),
        (
            lambda: layers.ConvLSTM1D(2, 2),
            (2, 3, 2),
            {"kernel": (0, 1), "recurrent_kernel": (0, 1)},
        ),
        (lambda: layers.TimeDistributed(layers.Dense(2)), (3, 2), {"kernel": 0}),
        (
            lambda: keras.Sequential([layers.Conv1D(2, 2), layers.Flatten()]),
            (3, 2),
            {"kernel": (0, 1)},
        ),
    ],
)
def test_layers_with_parts(make, shape, expected):
    keras.utils.set_random_seed(1)
    layer = make()
    x = tf.random.normal((1, *shape))
    layer(x)
    ends = {v.path: v.path.rsplit("/", 1)[1] for v in layer.weights}
    kernels = [v for v in layer.weights if ends[v.path] in expected]
    assert kernels
    for kernel in kernels:
        kernel.assign(3.0 + kernel)
    bounded(layer, x, shape)
    for kernel in kernels:
        norms = norms_of(kernel, expected[ends[kernel.path]])
        np.testing.assert_allclose(norms, RADIUS, rtol=1e-6)


def test_an_attention_layer_is_bounded_in_each_projection():
    keras.utils.set_random_seed(1)
    x = keras.Input((3, 4))
    attention = layers.MultiHeadAttention(2, 3)
    model = keras.Model(x, attention(x, x))
    for v in model.weights:
        v.assign(v + 3.0)
    biases = {v.path: v.numpy() for v in model.weights if "bias" in v.path}
    model.compile(keras.optimizers.SGD(0.0), "mse")
    inputs = np.ones((4, 3, 4), "float32")
    fit(model, (inputs, inputs), MaxNorm(RADIUS))
    for v in model.weights:
        if "bias" in v.path:
            np.testing.assert_array_equal(v, biases[v.path])
            continue
        norms = norms_of(v, (0, 1) if "output" in v.path else 0)
        np.testing.assert_allclose(norms, RADIUS, rtol=1e-6)


def test_of_an_embedding_each_row_is_bounded():
    table = layers.Embedding(5, 3)
    model = keras.Sequential(
        [keras.Input((2,), dtype="int32"), table, layers.Flatten()]
    )
    start = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    start[1] *= 1e-3
    table.embeddings.assign(start)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.array([[0, 1], [2, 2]])
    fit(model, (x, np.zeros((2, 6))), MaxNorm(RADIUS))
    norms = np.linalg.norm(start, axis=1, keepdims=True)
    expected = start * np.minimum(1, RADIUS / norms)
    np.testing.assert_allclose(table.embeddings, expected, rtol=1e-6)
    np.testing.assert_array_equal(table.embeddings[1], start[1])


@pytest.mark.parametrize("choice", ["name", "layer", "model"])
def test_only_the_named_layers_are_bounded(choice):
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, name="a")], name="inner"
    )
    model = keras.Sequential([keras.Input((6,)), inner, layers.Dense(3, name="b")])
    for v in model.weights:
        v.assign(v + 2.0)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    chosen = {"name": "a", "layer": inner.layers[0], "model": "inner"}[choice]
    fit(model, DATA, MaxNorm(RADIUS, layers=[chosen]))
    assert norms_of(inner.layers[0].kernel, 0).max() <= RADIUS * (1 + 1e-6)
    assert norms_of(model.layers[1].kernel, 0).max() > 2.0


def test_axis_replaces_the_known_axes():
    model = network()
    for v in model.weights:
        v.assign(v + 2.0)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, DATA, MaxNorm(RADIUS, axis=1))
    for v in model.weights[::2]:
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), RADIUS, rtol=1e-6)


class Mixing(layers.Layer):
    def build(self, shape):
        self.mixing = self.add_weight(shape=(shape[-1], 3), initializer="ones")
        self.shift = self.add_weight(shape=(3,), initializer="ones")

    def call(self, x):
        return x @ self.mixing + self.shift


def test_a_custom_layer_needs_an_axis():
    model = keras.Sequential([keras.Input((6,)), Mixing(name="mixing")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    with pytest.raises(ValueError, match=r"axis must be given.*Received: 'mixing'"):
        fit(model, DATA, MaxNorm(RADIUS, layers=["mixing"]))
    with pytest.raises(ValueError, match="no layer that MaxNorm knows"):
        fit(model, DATA, MaxNorm(RADIUS))
    fit(model, DATA, MaxNorm(RADIUS, layers=["mixing"], axis=0))
    layer = model.layers[0]
    np.testing.assert_allclose(np.linalg.norm(layer.mixing, axis=0), RADIUS, rtol=1e-6)
    assert (layer.shift.numpy() == 1.0).all()


@pytest.mark.parametrize("value", [0, -1, "a", None, float("inf"), float("nan")])
def test_max_value_must_be_a_number_above_zero(value):
    with pytest.raises(ValueError, match=r"max_value must be.*Received: max_value="):
        MaxNorm(value)


@pytest.mark.parametrize("axis", [2, (0, -3)])
def test_axis_must_be_one_of_the_kernel(axis):
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"axis must be in.*Received: axis="):
        fit(model, DATA, MaxNorm(1.0, axis=axis))


@pytest.mark.parametrize("axis", [(), 0.5, "rows"])
def test_axis_must_be_of_integers(axis):
    with pytest.raises(ValueError, match=r"axis must be"):
        MaxNorm(1.0, axis=axis)


def test_layers_must_be_of_the_model():
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Received: 'nothing'"):
        fit(model, DATA, MaxNorm(1.0, layers=["nothing"]))
    assert leftovers(model) == []
