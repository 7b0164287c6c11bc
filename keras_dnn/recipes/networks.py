"""Two networks of dense layers, with defaults that suit their depth.

K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", 2015; S. Ioffe and
C. Szegedy, "Batch normalization", 2015; G. Klambauer, T. Unterthiner, A. Mayr and
S. Hochreiter, "Self-normalizing neural networks", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn.initializers import GlorotNormal, HeNormal, for_activation
from keras_dnn.recipes._input_output_layers import first_layers, last_layer, widths

DEEP = 3
"""The least number of hidden layers of a deep network."""

INITIALIZERS = {HeNormal: "he_normal", GlorotNormal: "glorot_normal"}
"""Keras's draw the same for dense layers and load without this package."""


def deep_network(
    units: Sequence[int],
    *,
    n_classes: int | None = None,
    data: Any = None,
    input_shape: Sequence[int] | None = None,
    activation: str = "elu",
    batch_norm: bool | None = None,
    dropout: float = 0.0,
    l2: float = 0.0,
    name: str | None = None,
) -> keras.Sequential:
    """Returns a network of dense layers with good defaults.

    - inputs: standardised with the mean and variance of `data`
    - initial weights: He's for ELU and the ReLU family, else Glorot's
    - activation: ELU
    - normalisation: none if shallow; batch norm from three hidden layers on
    - regularisation: early stopping (`training` brings it), l2 or dropout if needed

    Batch norm precedes the activation and replaces the bias. Its momentum is 0.9 below
    10,000 rows of data, 0.999 above a million and 0.99 otherwise.

    Args:
        units: number of units in each hidden layer.
        n_classes: number of classes, for a softmax: the loss is
            `"sparse_categorical_crossentropy"` for integer labels. `None` for one
            linear output, as in a regression.
        data: the training inputs, an array with a row for each example. The columns of
            `(n, features)` are standardised separately, as are the channels of
            `(n, rows, columns, channels)`; `(n, rows, columns)` as a whole. Don't
            flatten images: pixels that hardly ever change would be amplified.
        input_shape: shape of one example, in place of `data`; the inputs must then be
            standardised already.
        activation: activation of the hidden layers, by Keras's name: `"relu"` where
            predictions must be fast.
        batch_norm: whether to normalise; `None` normalises deep networks.
        dropout: dropout rate after the last hidden layer.
        l2: factor of the penalty on the hidden kernels.
        name: name of the model.

    Returns:
        An ordinary model, not compiled. It can be saved and loaded without this
        package.

    Raises:
        ValueError: if a value lies outside its range, or `data` and `input_shape` are
            both given or both missing.

    Example:
        >>> import numpy as np
        >>> from keras_dnn.recipes import deep_network
        >>> x = np.random.default_rng(1).normal(5, 3, size=(100, 8))
        >>> model = deep_network([32, 32, 32], n_classes=4, data=x)
        >>> [layer.name for layer in model.layers[:4]]
        ['standardise', 'hidden_1', 'norm_1', 'activation_1']
        >>> model.output_shape
        (None, 4)

    Reference:
        He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015. Ioffe and
        Szegedy, "Batch normalization", 2015. Clevert, Unterthiner and Hochreiter,
        "Fast and accurate deep network learning by exponential linear units", 2016.
    """
    sizes = widths(units)
    if activation == "selu":
        raise ValueError(
            "activation must not be 'selu', which needs other initial weights and no "
            "batch norm: see self_normalizing_network. Received: activation='selu'"
        )
    initializer = INITIALIZERS[type(for_activation(activation))]
    dropout = _arguments.number("dropout", dropout, high=1.0)
    l2 = _arguments.number("l2", l2)
    if batch_norm is None:
        batch_norm = len(sizes) >= DEEP
    batch_norm = _arguments.switch("batch_norm", batch_norm)
    stack = first_layers(data, input_shape)
    for i, size in enumerate(sizes, start=1):
        stack.append(
            keras.layers.Dense(
                size,
                use_bias=not batch_norm,
                kernel_initializer=initializer,
                kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
                name=f"hidden_{i}",
            )
        )
        if batch_norm:
            momentum = _momentum(data)
            stack.append(
                keras.layers.BatchNormalization(momentum=momentum, name=f"norm_{i}")
            )
        stack.append(keras.layers.Activation(activation, name=f"activation_{i}"))
    if dropout:
        stack.append(keras.layers.Dropout(dropout, name="dropout"))
    return keras.Sequential([*stack, last_layer(n_classes)], name=name)


def self_normalizing_network(
    units: Sequence[int],
    *,
    n_classes: int | None = None,
    data: Any = None,
    input_shape: Sequence[int] | None = None,
    alpha_dropout: float = 0.0,
    name: str | None = None,
) -> keras.Sequential:
    """Returns a network whose activations keep mean 0 and variance 1 by themselves.

    - inputs: standardised with the mean and variance of `data`
    - initial weights: LeCun's, normal
    - activation: SELU
    - normalisation: none
    - regularisation: early stopping (`training` brings it), alpha dropout if needed

    The proof requires all of it: standardised inputs, LeCun's weights, a chain of dense
    layers, and no batch norm, ordinary dropout or penalties on the weights.

    Args:
        units: number of units in each hidden layer.
        n_classes: number of classes, for a softmax; `None` for one linear output.
        data: the training inputs, as for `deep_network`.
        input_shape: shape of one example, in place of `data`; the inputs must then be
            standardised already.
        alpha_dropout: dropout rate after each hidden layer; 0.05 or 0.1 are usual.
        name: name of the model.

    Returns:
        An ordinary model, not compiled. It can be saved and loaded without this
        package.

    Raises:
        ValueError: if a value lies outside its range, or `data` and `input_shape` are
            both given or both missing.

    Example:
        >>> import numpy as np
        >>> from keras_dnn.recipes import self_normalizing_network
        >>> x = np.random.default_rng(1).normal(5, 3, size=(1000, 50))
        >>> model = self_normalizing_network([50] * 20, data=x)
        >>> hidden = model.get_layer("hidden_20")
        >>> import keras
        >>> signal = keras.Model(model.inputs, hidden.output).predict(x, verbose=0)
        >>> bool(abs(signal.mean()) < 0.2 and 0.7 < signal.std() < 1.3)
        True

    Reference:
        Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural
        networks", 2017.
    """
    sizes = widths(units)
    alpha_dropout = _arguments.number("alpha_dropout", alpha_dropout, high=1.0)
    stack = first_layers(data, input_shape)
    for i, size in enumerate(sizes, start=1):
        stack.append(
            keras.layers.Dense(
                size,
                activation="selu",
                kernel_initializer="lecun_normal",
                name=f"hidden_{i}",
            )
        )
        if alpha_dropout:
            stack.append(keras.layers.AlphaDropout(alpha_dropout, name=f"dropout_{i}"))
    return keras.Sequential([*stack, last_layer(n_classes)], name=name)


def _momentum(data: Any) -> float:
    """The momentum of batch norm: higher for more data."""
    rows = 10_000 if data is None else len(data)
    return 0.9 if rows < 10_000 else 0.99 if rows <= 1_000_000 else 0.999
