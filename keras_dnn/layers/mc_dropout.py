"""Dropout that stays on at inference.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", 2016: a network whose
dropout stays on draws, at each call, one of the networks that its training averaged
over. How far these disagree says what the network does not know.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.layers import _noise


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` that drops units at inference too.

    Unlike `Dropout(...)(x, training=True)`, which `predict` ignores in Keras 3.15, it
    is random in `model(x)`, `predict`, `evaluate` and an exported model, and unlike
    `model(x, training=True)` it leaves batch normalisation alone. A model with
    ordinary `Dropout` needs no `MCDropout` for `keras_dnn.models.mc_predict`. Rate and
    mean are right in half precision too.

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
        return _dropped(self, inputs, self.noise_shape)


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCSpatialDropout1D(keras.layers.SpatialDropout1D):
    """`keras.layers.SpatialDropout1D` at inference too.

    It drops a whole feature of a sequence.

    Args:
        rate: share dropped, in [0, 1]. The others are scaled by `1 / (1 - rate)`.
        seed: integer seed.
        name: of the layer.
        dtype: of its computations, or a policy.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCSpatialDropout1D
        >>> y = MCSpatialDropout1D(0.5, seed=1)(keras.ops.ones((1, 5, 100))).numpy()
        >>> bool((y == y[:, :1]).all())
        True

    Reference:
        J. Tompson et al., "Efficient object localization using convolutional networks",
        2015.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops features whatever `training` says."""
        return _dropped(self, inputs, self._get_noise_shape(inputs))


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCSpatialDropout2D(keras.layers.SpatialDropout2D):
    """`keras.layers.SpatialDropout2D` at inference too.

    It drops whole feature maps of images.

    Args:
        rate: share dropped, in [0, 1]. The others are scaled by `1 / (1 - rate)`.
        data_format: `"channels_last"` or `"channels_first"`; by default Keras's own.
        seed: integer seed.
        name: of the layer.
        dtype: of its computations, or a policy.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCSpatialDropout2D
        >>> y = MCSpatialDropout2D(0.5, seed=1)(keras.ops.ones((1, 5, 5, 100))).numpy()
        >>> bool((y == y[:, :1, :1]).all())
        True

    Reference:
        J. Tompson et al., "Efficient object localization using convolutional networks",
        2015.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops features whatever `training` says."""
        return _dropped(self, inputs, self._get_noise_shape(inputs))


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCSpatialDropout3D(keras.layers.SpatialDropout3D):
    """`keras.layers.SpatialDropout3D` at inference too.

    It drops whole feature maps of volumes.

    Args:
        rate: share dropped, in [0, 1]. The others are scaled by `1 / (1 - rate)`.
        data_format: `"channels_last"` or `"channels_first"`; by default Keras's own.
        seed: integer seed.
        name: of the layer.
        dtype: of its computations, or a policy.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCSpatialDropout3D
        >>> y = MCSpatialDropout3D(0.5, seed=1)(
        ...     keras.ops.ones((1, 5, 5, 5, 100))
        ... ).numpy()
        >>> bool((y == y[:, :1, :1, :1]).all())
        True

    Reference:
        J. Tompson et al., "Efficient object localization using convolutional networks",
        2015.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops features whatever `training` says."""
        return _dropped(self, inputs, self._get_noise_shape(inputs))


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCGaussianDropout(keras.layers.GaussianDropout):
    """`keras.layers.GaussianDropout` at inference too: it multiplies by noise.

    Args:
        rate: the noise has mean 1 and variance `rate / (1 - rate)`, as dropout of this
            rate.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCGaussianDropout
        >>> y = MCGaussianDropout(0.5, seed=1)(keras.ops.ones((100, 1000)))
        >>> round(float(y.numpy().mean()), 1), round(float(y.numpy().var()), 1)
        (1.0, 1.0)

    Reference:
        N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting", 2014.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Multiplies by noise whatever `training` says."""
        _noise.refuse_vectorized(self)
        return super().call(inputs, training=True)


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCAlphaDropout(keras.layers.AlphaDropout):
    """`keras.layers.AlphaDropout` at inference too: for networks of SELU.

    What is dropped gets the value at which SELU saturates, and all is shifted and
    scaled such that mean 0 and variance 1 stay so.

    Args:
        rate: share of the units dropped, in [0, 1].
        noise_shape: shape of the mask, if it is to be shared along some axes.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCAlphaDropout
        >>> y = MCAlphaDropout(0.1, seed=1)(keras.random.normal((100, 1000), seed=2))
        >>> round(abs(float(y.numpy().mean())), 1), round(float(y.numpy().var()), 1)
        (0.0, 1.0)

    Reference:
        G. Klambauer et al., "Self-normalizing neural networks", 2017.
    """

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops units whatever `training` says."""
        _noise.refuse_vectorized(self)
        return super().call(inputs, training=True)


def _dropped(layer: Any, inputs: Tensor, noise_shape: Any) -> Tensor:
    if not layer.rate:
        return inputs
    _noise.refuse_vectorized(layer)
    return _noise.dropout(inputs, layer.rate, noise_shape, layer.seed_generator)
