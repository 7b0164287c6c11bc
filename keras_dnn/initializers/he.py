"""He's initial weights, for ReLU and its family."""

from __future__ import annotations

import keras

from keras_dnn.initializers.variance_scaling import Preset


@keras.saving.register_keras_serializable(package="keras_dnn")
class HeNormal(Preset):
    r"""Draws from a normal distribution, for ReLU and its family.

    $$
    \sigma^2 = \frac{2}{n_\mathrm{in}}
    $$

    ReLU sets half of the signal's energy to zero, and a
    variance twice as large makes up for it. The normal distribution is cut at two deviations and widened so that the variance is
    this one exactly.

    Args:
        seed: an integer gives the same draw each time the initializer is used, a
            `keras.random.SeedGenerator` or `None` another one each time.
        **kwargs: the arguments of `VarianceScaling` from `gain` on: `gain`, `fan_in`,
            `fan_out`, `kernel`, `groups` and `strides`. The last three must be told
            for convolutions that are depthwise, transposed, grouped or strided.

    Raises:
        ValueError: if a value lies outside its range, or does not fit the shape.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import HeNormal
        >>> layer = keras.layers.Dense(400, kernel_initializer=HeNormal(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.0

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015.
    """

    _preset = (2.0, "fan_in", "truncated_normal")


@keras.saving.register_keras_serializable(package="keras_dnn")
class HeUniform(Preset):
    r"""Draws from a uniform distribution on $[-r, r]$, for ReLU and its family.

    $$
    r = \sqrt{\frac{6}{n_\mathrm{in}}}
    $$

    ReLU sets half of the signal's energy to zero, and a
    variance twice as large makes up for it. The variance $r^2 / 3$ is that of `HeNormal`.

    Args:
        seed: an integer gives the same draw each time the initializer is used, a
            `keras.random.SeedGenerator` or `None` another one each time.
        **kwargs: the arguments of `VarianceScaling` from `gain` on: `gain`, `fan_in`,
            `fan_out`, `kernel`, `groups` and `strides`. The last three must be told
            for convolutions that are depthwise, transposed, grouped or strided.

    Raises:
        ValueError: if a value lies outside its range, or does not fit the shape.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import HeUniform
        >>> layer = keras.layers.Dense(400, kernel_initializer=HeUniform(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.0

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015.
    """

    _preset = (2.0, "fan_in", "uniform")
