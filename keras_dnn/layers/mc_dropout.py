"""Dropout that stays on at inference.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", 2016: a network whose
dropout stays on draws, at each call, one of the networks that its training averaged
over. How far these disagree says what the network does not know.
"""

from __future__ import annotations

import keras

from keras_dnn._typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` that drops units at inference too.

    Unlike `Dropout(...)(x, training=True)`, which `predict` ignores in Keras 3.15, it
    is random in `model(x)`, `predict`, `evaluate` and an exported model, and unlike
    `model(x, training=True)` it leaves batch normalisation alone. A model with
    ordinary `Dropout` needs no `MCDropout` for `keras_dnn.models.mc_predict`.

    Args:
        rate: share of the units dropped, in [0, 1]. The others are scaled by
            `1 / (1 - rate)`.
        noise_shape: shape of the mask, if it is to be shared along some axes.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `rate` lies outside [0, 1].

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCDropout
        >>> y = MCDropout(0.5, seed=1)(keras.ops.ones((1, 1000)))
        >>> sorted(set(y.numpy().ravel().tolist()))
        [0.0, 2.0]

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian approximation: representing model
        uncertainty in deep learning", 2016.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops units whatever `training` says."""
        return super().call(inputs, training=True)
