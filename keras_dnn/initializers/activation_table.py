"""The initializer that suits an activation."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import keras

from keras_dnn import _arguments
from keras_dnn.initializers.gain import Activation
from keras_dnn.initializers.glorot import GlorotNormal, GlorotUniform
from keras_dnn.initializers.he import HeNormal, HeUniform
from keras_dnn.initializers.lecun import LeCunNormal, LeCunUniform
from keras_dnn.initializers.variance_scaling import VarianceScaling

GLOROT = {"normal": GlorotNormal, "uniform": GlorotUniform}
HE = {"normal": HeNormal, "uniform": HeUniform}
LECUN = {"normal": LeCunNormal, "uniform": LeCunUniform}

TABLE = {
    **dict.fromkeys(
        (
            "linear",
            "tanh",
            "hard_tanh",
            "softsign",
            "sigmoid",
            "hard_sigmoid",
            "log_sigmoid",
            "softmax",
            "log_softmax",
        ),
        GLOROT,
    ),
    **dict.fromkeys(
        (
            "relu",
            "relu6",
            "leaky_relu",
            "elu",
            "celu",
            "gelu",
            "silu",
            "hard_silu",
            "mish",
            "softplus",
        ),
        HE,
    ),
    "selu": LECUN,
}
Shape: TypeAlias = Literal["normal", "uniform"]

LAYERS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "PReLU": "leaky_relu",
    "RReLU": "leaky_relu",
    "ELU": "elu",
    "Softmax": "softmax",
}
"""The activation functions of Keras's activation layers."""


def for_activation(
    activation: Activation, distribution: Shape = "normal", **kwargs: Any
) -> VarianceScaling:
    r"""Returns the initializer that suits an activation.

    - none, tanh, the logistic function, softmax and similar ones: Glorot's,
      $\sigma^2 = 1 / n_\mathrm{avg}$
    - ReLU and its family (leaky, parametric, randomized, ELU, GELU, SiLU or swish,
      Mish, softplus): He's, $\sigma^2 = 2 / n_\mathrm{in}$
    - SELU: LeCun's, $\sigma^2 = 1 / n_\mathrm{in}$

    The table is coarse; `LeCunNormal(gain=activation)` uses the exact gain of
    `calculate_gain`.

    Args:
        activation: the name or function of `keras.activations`, a layer such as
            `keras.layers.LeakyReLU()`, or `None`.
        distribution: `"normal"` or `"uniform"`.
        **kwargs: the arguments of the initializer: `seed`, `kernel`, `groups`,
            `strides`, ...

    Returns:
        A new initializer.

    Raises:
        ValueError: if the table does not contain the activation.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import for_activation
        >>> for name in ("tanh", "swish", "selu"):
        ...     print(type(for_activation(name)).__name__)
        GlorotNormal
        HeNormal
        LeCunNormal
        >>> initializer = for_activation("relu", kernel="depthwise", strides=2)
        >>> layer = keras.layers.DepthwiseConv2D(
        ...     3, strides=2, activation="relu", depthwise_initializer=initializer
        ... )
    """
    _arguments.choice("distribution", distribution, get_args(Shape))
    name = _name(activation)
    if name not in TABLE:
        raise ValueError(
            f"activation must be one of {', '.join(TABLE)} or None. For others use "
            "LeCunNormal(gain=activation), which computes the gain. Received: "
            f"activation={activation!r}"
        )
    initializer: VarianceScaling = TABLE[name][distribution](**kwargs)
    return initializer


def _name(activation: Any) -> str:
    if isinstance(activation, keras.layers.Activation):
        activation = activation.activation
    if isinstance(activation, keras.layers.Layer):
        return LAYERS.get(type(activation).__name__, "")
    if not callable(activation):
        try:
            activation = keras.activations.get(activation)
        except (TypeError, ValueError):
            return ""
    return getattr(activation, "__name__", "")
