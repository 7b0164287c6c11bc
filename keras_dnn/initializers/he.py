"""He's initial weights, for ReLU and its family."""

from __future__ import annotations

import keras

from keras_dnn.initializers.variance_scaling import Preset


@keras.saving.register_keras_serializable(package="keras_dnn")
class HeNormal(Preset):
    r"""Draws from He's normal distribution, for ReLU and its family.

    $$
    \sigma^2 = \frac{2}{n_\mathrm{in}}
    $$

    ReLU sets half of the signal's energy to zero; twice the variance compensates for
    it. The normal distribution is truncated at two standard deviations and widened so
    that the variance is exact.

    Args:
        seed: with an integer each use draws the same kernel, with a
            `keras.random.SeedGenerator` or `None` another one.
        **kwargs: the arguments of `VarianceScaling` from `gain` on. `kernel`, `groups`
            and `strides` are needed for depthwise, transposed, grouped and strided
            convolutions.

    Raises:
        ValueError: if a value lies outside its range, or does not fit the shape.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import HeNormal
        >>> layer = keras.layers.Dense(400, kernel_initializer=HeNormal(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.14

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015.
    """

    _preset = (2.0, "fan_in", "truncated_normal")


@keras.saving.register_keras_serializable(package="keras_dnn")
class HeUniform(Preset):
    r"""Draws from He's uniform distribution, for ReLU and its family.

    $$
    r = \sqrt{\frac{6}{n_\mathrm{in}}}
    $$

    ReLU sets half of the signal's energy to zero; twice the variance compensates for
    it. The weights lie between $-r$ and $r$. The variance $r^2 / 3$ is that of
    `HeNormal`.

    Args:
        seed: with an integer each use draws the same kernel, with a
            `keras.random.SeedGenerator` or `None` another one.
        **kwargs: the arguments of `VarianceScaling` from `gain` on. `kernel`, `groups`
            and `strides` are needed for depthwise, transposed, grouped and strided
            convolutions.

    Raises:
        ValueError: if a value lies outside its range, or does not fit the shape.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import HeUniform
        >>> layer = keras.layers.Dense(400, kernel_initializer=HeUniform(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.14

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015.
    """

    _preset = (2.0, "fan_in", "uniform")
