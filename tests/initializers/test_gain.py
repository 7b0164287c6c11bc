"""Gains against closed forms, a second integration, and signals in a deep network."""

import math

import keras
import numpy as np
import pytest

from keras_dnn.initializers import LeCunNormal, calculate_gain

E = math.e


def cdf(z):
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def negative_part(alpha):
    """E[φ(z)²; z < 0] of an exponential linear unit."""
    return alpha**2 * (E**2 * cdf(-2) - 2 * math.sqrt(E) * cdf(-1) + 0.5)


SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
DENSITY_AT_6 = math.exp(-18) / math.sqrt(2 * math.pi)
MEAN_SQUARES = {
    "linear": 1.0,
    "relu": 0.5,
    "elu": 0.5 + negative_part(1.0),
    "celu": 0.5 + negative_part(1.0),
    "selu": SCALE**2 * (0.5 + negative_part(ALPHA)),
    "gelu": 1 / 3 + 1 / (2 * math.pi * math.sqrt(3)),
    "relu6": 0.5 + 35 * cdf(-6) - 6 * DENSITY_AT_6,
    "exponential": E**2,
    "hard_tanh": 2 * cdf(1)
    - 1
    - 2 * math.exp(-0.5) / math.sqrt(2 * math.pi)
    + 2 * cdf(-1),
}


@pytest.mark.parametrize(("name", "mean_square"), MEAN_SQUARES.items())
def test_gains_with_a_closed_form(name, mean_square):
    assert calculate_gain(name) == pytest.approx(mean_square**-0.5, rel=2e-8)


@pytest.mark.parametrize("name", ["gelu", "exponential", "elu", "hard_tanh"])
def test_float64_functions_are_exact(name):
    functions = {
        "gelu": lambda z: 0.5 * z * (1 + keras.ops.erf(z * 0.5**0.5)),
        "exponential": keras.ops.exp,
        "elu": lambda z: keras.ops.where(z < 0, keras.ops.expm1(z), z),
        "hard_tanh": lambda z: keras.ops.clip(z, -1, 1),
    }
    expected = MEAN_SQUARES[name] ** -0.5
    assert calculate_gain(functions[name]) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("name", "function"),
    {
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "silu": lambda z: z / (1 + np.exp(-z)),
        "swish": lambda z: z / (1 + np.exp(-z)),
        "softplus": lambda z: np.log1p(np.exp(z)),
        "mish": lambda z: z * np.tanh(np.log1p(np.exp(z))),
    }.items(),
)
def test_gains_of_smooth_functions(name, function):
    # For these the trapezoidal rule converges faster than any power of the step.
    z = np.linspace(-12, 12, 4001)
    mean_square = np.sum(np.exp(-0.5 * z**2) * function(z) ** 2) * (z[1] - z[0])
    expected = (mean_square / math.sqrt(2 * math.pi)) ** -0.5
    assert calculate_gain(name) == pytest.approx(expected, rel=1e-12)
    assert calculate_gain(getattr(keras.activations, name)) == calculate_gain(name)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0, 5.0])
def test_slopes_of_a_leaky_relu(slope):
    expected = math.sqrt(2 / (1 + slope**2))
    assert calculate_gain("leaky_relu", slope) == expected
    layer = keras.layers.LeakyReLU(slope)
    assert calculate_gain(layer) == pytest.approx(expected, rel=1e-7)
    function = lambda z: keras.ops.where(z < 0, slope * z, z)  # noqa: E731
    assert calculate_gain(function) == pytest.approx(expected, rel=1e-13)


def test_exact_values_and_defaults():
    assert calculate_gain(None) == calculate_gain("linear") == 1.0
    assert calculate_gain("relu") == math.sqrt(2)
    assert calculate_gain("leaky_relu") == math.sqrt(2 / 1.04)


def test_a_given_layer_is_not_built():
    layer = keras.layers.PReLU()
    assert calculate_gain(layer) == pytest.approx(math.sqrt(2), rel=1e-7)
    assert not layer.built
    assert layer.weights == []


def test_gains_equal_those_of_pytorch_that_keep_the_variance():
    init = pytest.importorskip("torch").nn.init
    for name in ("linear", "relu"):
        assert calculate_gain(name) == init.calculate_gain(name)
    assert calculate_gain("leaky_relu", 0.1) == init.calculate_gain("leaky_relu", 0.1)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "selu", "elu", "gelu"])
def test_pre_activations_keep_unit_variance_through_depth(name):
    activation = keras.activations.get(name)
    initializer = LeCunNormal(gain=name)
    z = keras.random.normal((64, 1024), seed=1)
    for _ in range(6):
        z = keras.ops.matmul(activation(z), initializer((1024, 1024)))
    # Each width-1024 layer adds about sqrt(2 / 1024 + correlation) of noise.
    assert float(keras.ops.mean(z**2)) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize(
    "activation",
    [
        "softmax",
        "log_softmax",
        "glu",
        "nonsense",
        3,
        lambda z: 0 * z,
        lambda z: z * math.nan,
        lambda z: z[:3],
    ],
)
def test_activations_without_a_gain_are_refused(activation):
    with pytest.raises(ValueError, match=r"activation must .*Received: activation="):
        calculate_gain(activation)


def test_only_a_leaky_relu_has_a_slope():
    with pytest.raises(ValueError, match=r"negative_slope must be None.*'relu'"):
        calculate_gain("relu", 0.1)
    with pytest.raises(ValueError, match=r"negative_slope must .*=-0.1"):
        calculate_gain("leaky_relu", -0.1)
