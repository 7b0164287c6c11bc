"""The gain that compensates for the effect of an activation on the variance.

K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", 2015, for any
activation: with weights of variance g² / fan_in, outputs φ(z) of the layer below become
sums of variance g² E[φ(z)²]. For standard normal z this is 1 if g = E[φ(z)²]^(-1/2).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_dnn import _arguments

Activation: TypeAlias = str | Callable[..., Any] | None

LIMIT = 12
"""Standard deviations beyond which the normal density is below 1e-32."""


def calculate_gain(
    activation: Activation, negative_slope: float | None = None
) -> float:
    r"""Returns the factor on weights that keeps the variance despite an activation.

    $$
    g = \mathrm{E}[\varphi(z)^2]^{-1/2}, \qquad z \sim \mathcal{N}(0, 1)
    $$

    With weights of standard deviation $g / \sqrt{n_\mathrm{in}}$, pre-activations of
    variance 1 in one layer give pre-activations of variance 1 in the next.

    For `"linear"`, `"relu"` and `"leaky_relu"` it is $\sqrt{2 / (1 + a^2)}$ with the
    slope $a$ (1, 0, or `negative_slope`), for all others the integral in float64 (on
    JAX float32), exact to twelve digits if the activation is smooth except for kinks at
    multiples of 1/2. PyTorch's table has the same values for those three. Its other
    values are conventions that do not keep the variance: 5/3 for tanh (here 1.5925), 1
    for sigmoid (1.8463), 3/4 for SELU (1, as its authors intended).

    Args:
        activation: a name or function of `keras.activations`, any elementwise function,
            a layer such as `keras.layers.LeakyReLU(0.1)`, or `None` for linear.
        negative_slope: slope of `"leaky_relu"`, at least 0; Keras's 0.2 by default.

    Returns:
        The gain, a float.

    Raises:
        ValueError: if the activation is not known, is not elementwise (softmax) or has
            no finite, positive mean square, or if `negative_slope` is given for another
            activation than `"leaky_relu"`.

    Example:
        >>> from keras_dnn.initializers import calculate_gain
        >>> [round(calculate_gain(name), 4) for name in ("relu", "tanh", "selu")]
        [1.4142, 1.5925, 1.0]
        >>> round(calculate_gain("leaky_relu", negative_slope=0.1), 4)
        1.4072

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015.
    """
    function = _function(activation)
    leaky = function is keras.activations.leaky_relu
    if negative_slope is not None:
        if not leaky:
            raise ValueError(
                "negative_slope must be None unless activation='leaky_relu'. Received: "
                f"negative_slope={negative_slope!r}, activation={activation!r}"
            )
        negative_slope = _arguments.number("negative_slope", negative_slope)
    slopes = {
        keras.activations.linear: 1.0,
        keras.activations.relu: 0.0,
        keras.activations.leaky_relu: 0.2 if negative_slope is None else negative_slope,
    }
    if function in slopes:
        return math.sqrt(2.0 / (1.0 + slopes[function] ** 2))
    mean_square = _mean_square(function, activation)
    if not 0.0 < mean_square < math.inf:
        raise ValueError(
            "activation must have a finite, positive mean square. Received: "
            f"activation={activation!r}, with {mean_square}"
        )
    return 1.0 / math.sqrt(mean_square)


def gain_of(gain: Any) -> float:
    """The number that the argument `gain` of an initializer stands for."""
    if isinstance(gain, numbers.Number):
        return _arguments.number("gain", gain, bounds="()", or_else=" or an activation")
    return calculate_gain(gain)


def _function(activation: Any) -> Callable[..., Any]:
    if isinstance(activation, keras.layers.Layer):
        # A copy, since calling it would build the layer; in float64, to be exact.
        config = {**activation.get_config(), "dtype": "float64"}
        copy: Callable[..., Any] = type(activation).from_config(config)
        return copy
    try:
        function: Callable[..., Any] = keras.activations.get(activation)
    except (TypeError, ValueError):
        raise ValueError(
            "activation must be a name or function of keras.activations, or any "
            f"function. Received: activation={activation!r}"
        ) from None
    return function


def _mean_square(function: Callable[..., Any], activation: Any) -> float:
    """E[φ(z)²] by Gauss-Legendre quadrature in steps of half a standard deviation.

    Gauss-Hermite quadrature converges slowly where there is a kink.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    middles = np.arange(-LIMIT, LIMIT, 0.5) + 0.25
    z = (middles[:, None] + 0.25 * nodes).ravel()
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    values = _values(function, z)
    half = len(z) // 2
    separately = _values(function, z[:half])
    if values.shape != z.shape or not np.allclose(
        values[:half], separately, rtol=1e-3, equal_nan=True
    ):
        raise ValueError(
            f"activation must be elementwise. Received: activation={activation!r}"
        )
    return float(np.sum(0.25 * np.tile(weights, len(middles)) * density * values**2))


def _values(function: Callable[..., Any], z: np.ndarray) -> np.ndarray:
    values = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(z)))
    return np.asarray(values, "float64")
