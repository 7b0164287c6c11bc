"""Glorot's initial weights, for activations that are linear near zero."""

from __future__ import annotations

import keras

from keras_dnn.initializers.variance_scaling import Preset


@keras.saving.register_keras_serializable(package="keras_dnn")
class GlorotNormal(Preset):
    r"""Draws from Glorot's normal distribution, for tanh, sigmoid, softmax or none.

    $$
    \sigma^2 = \frac{1}{\tfrac{1}{2}(n_\mathrm{in} + n_\mathrm{out})}
    $$

    A compromise: forward signals would keep their variance with $n_\mathrm{in}$ alone,
    gradients with $n_\mathrm{out}$. The normal distribution is truncated at two
    standard deviations and widened so that the variance is exact.

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
        >>> from keras_dnn.initializers import GlorotNormal
        >>> layer = keras.layers.Dense(400, kernel_initializer=GlorotNormal(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.06

    Reference:
        X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
        feedforward neural networks", 2010.
    """

    _preset = (1.0, "fan_avg", "truncated_normal")


@keras.saving.register_keras_serializable(package="keras_dnn")
class GlorotUniform(Preset):
    r"""Draws from Glorot's uniform distribution, for tanh, sigmoid, softmax or none.

    $$
    r = \sqrt{\frac{3}{\tfrac{1}{2}(n_\mathrm{in} + n_\mathrm{out})}}
    $$

    A compromise: forward signals would keep their variance with $n_\mathrm{in}$ alone,
    gradients with $n_\mathrm{out}$. The weights lie between $-r$ and $r$. The variance
    $r^2 / 3$ is that of `GlorotNormal`.

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
        >>> from keras_dnn.initializers import GlorotUniform
        >>> layer = keras.layers.Dense(400, kernel_initializer=GlorotUniform(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.06

    Reference:
        X. Glorot and Y. Bengio, "Understanding the difficulty of training deep
        feedforward neural networks", 2010.
    """

    _preset = (1.0, "fan_avg", "uniform")
