"""Dropout that stays on at inference.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", 2016: a network whose
dropout stays on draws, at each call, one of the networks that its training averaged
over. How far these disagree says what the network does not know.
"""

from __future__ import annotations

import keras

from keras_dnn._keras.layers import noise_shape_of
from keras_dnn._layer_kinds import SPATIAL_DROPOUTS
from keras_dnn._typing import Tensor
from keras_dnn.layers._noise import dropout, refuse_vectorized


class AlwaysOn(keras.layers.Layer):
    """Calls a layer of Keras, its other base, in training mode at inference too."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops units, or multiplies by noise, whatever `training` says."""
        refuse_vectorized(self)
        return super().call(inputs, training=True)


class AlwaysDropping(AlwaysOn):
    """Draws masks from sixteen random bits, in place of those that Keras draws."""

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops units whatever `training` says."""
        if not self.rate:
            return inputs
        refuse_vectorized(self)
        shape = self.noise_shape
        if isinstance(self, SPATIAL_DROPOUTS):
            shape = noise_shape_of(self, inputs)
        return dropout(inputs, self.rate, shape, self.seed_generator)


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCDropout(AlwaysDropping, keras.layers.Dropout):
    """`keras.layers.Dropout` that drops units at inference too.

    Unlike `Dropout(...)(x, training=True)`, which `predict` ignores in Keras 3.15, it
    is random in `model(x)`, `predict`, `evaluate` and an exported model, and unlike
    `model(x, training=True)` it leaves batch normalisation alone. A model with
    ordinary `Dropout` needs no `MCDropout` for `keras_dnn.models.mc_predict`. Rate and
    mean are right in half precision too.

    Args:
        rate: fraction of the units dropped, in [0, 1]. The others are scaled by
            `1 / (1 - rate)`.
        noise_shape: shape of the mask, where it is the same along some axes.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `rate` lies outside [0, 1].

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCDropout
        >>> y = MCDropout(0.5, seed=1)(keras.ops.ones((1, 1000)))
        >>> sorted(set(keras.ops.convert_to_numpy(y).ravel().tolist()))
        [0.0, 2.0]

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian approximation: representing model
        uncertainty in deep learning", 2016.
    """


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCSpatialDropout1D(AlwaysDropping, keras.layers.SpatialDropout1D):
    """`keras.layers.SpatialDropout1D` at inference too.

    It drops entire features of a sequence.

    Args:
        rate: fraction dropped, in [0, 1]. The others are scaled by `1 / (1 - rate)`.
        seed: integer seed.
        name: of the layer.
        dtype: of its computations, or a policy.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCSpatialDropout1D
        >>> y = MCSpatialDropout1D(0.5, seed=1)(keras.ops.ones((1, 5, 100)))
        >>> bool(keras.ops.all(y == y[:, :1]))
        True

    Reference:
        J. Tompson et al., "Efficient object localization using convolutional networks",
        2015.
    """


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCSpatialDropout2D(AlwaysDropping, keras.layers.SpatialDropout2D):
    """`keras.layers.SpatialDropout2D` at inference too.

    It drops entire feature maps of images.

    Args:
        rate: fraction dropped, in [0, 1]. The others are scaled by `1 / (1 - rate)`.
        data_format: `"channels_last"` or `"channels_first"`; by default Keras's own.
        seed: integer seed.
        name: of the layer.
        dtype: of its computations, or a policy.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCSpatialDropout2D
        >>> y = MCSpatialDropout2D(0.5, seed=1)(keras.ops.ones((1, 5, 5, 100)))
        >>> bool(keras.ops.all(y == y[:, :1, :1]))
        True

    Reference:
        J. Tompson et al., "Efficient object localization using convolutional networks",
        2015.
    """


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCSpatialDropout3D(AlwaysDropping, keras.layers.SpatialDropout3D):
    """`keras.layers.SpatialDropout3D` at inference too.

    It drops entire feature maps of volumes.

    Args:
        rate: fraction dropped, in [0, 1]. The others are scaled by `1 / (1 - rate)`.
        data_format: `"channels_last"` or `"channels_first"`; by default Keras's own.
        seed: integer seed.
        name: of the layer.
        dtype: of its computations, or a policy.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCSpatialDropout3D
        >>> y = MCSpatialDropout3D(0.5, seed=1)(keras.ops.ones((1, 5, 5, 5, 100)))
        >>> bool(keras.ops.all(y == y[:, :1, :1, :1]))
        True

    Reference:
        J. Tompson et al., "Efficient object localization using convolutional networks",
        2015.
    """


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCGaussianDropout(AlwaysOn, keras.layers.GaussianDropout):
    """`keras.layers.GaussianDropout` at inference too: it multiplies by noise.

    Args:
        rate: the noise has mean 1 and variance `rate / (1 - rate)`, like dropout with
            this rate.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCGaussianDropout
        >>> y = MCGaussianDropout(0.5, seed=1)(keras.ops.ones((100, 1000)))
        >>> round(float(keras.ops.mean(y)), 1), round(float(keras.ops.var(y)), 1)
        (1.0, 1.0)

    Reference:
        N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting", 2014.
    """


@keras.saving.register_keras_serializable(package="keras_dnn")
class MCAlphaDropout(AlwaysOn, keras.layers.AlphaDropout):
    """`keras.layers.AlphaDropout` at inference too: for networks with SELU.

    Dropped units get the value at which SELU saturates, and all units are shifted and
    scaled so that a mean of 0 and a variance of 1 are preserved.

    Args:
        rate: fraction of the units dropped, in [0, 1].
        noise_shape: shape of the mask, where it is the same along some axes.
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MCAlphaDropout
        >>> y = MCAlphaDropout(0.1, seed=1)(keras.random.normal((100, 1000), seed=2))
        >>> round(abs(float(keras.ops.mean(y))), 1), round(float(keras.ops.var(y)), 1)
        (0.0, 1.0)

    Reference:
        G. Klambauer et al., "Self-normalizing neural networks", 2017.
    """
