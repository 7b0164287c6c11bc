"""LeCun's initial weights, for SELU."""

from __future__ import annotations

import keras

from keras_dnn.initializers.variance_scaling import Preset


@keras.saving.register_keras_serializable(package="keras_dnn")
class LeCunNormal(Preset):
    r"""Draws from LeCun's normal distribution, for SELU.

    $$
    \sigma^2 = \frac{1}{n_\mathrm{in}}
    $$

    Sums have the same variance as the inputs, which SELU then keeps. The normal
    distribution is truncated at two standard deviations and widened so that the
    variance is exact.

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
        >>> from keras_dnn.initializers import LeCunNormal
        >>> layer = keras.layers.Dense(400, kernel_initializer=LeCunNormal(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.1

    Reference:
        Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", 1998.
        G. Klambauer et al., "Self-normalizing neural networks", 2017.
    """

    _preset = (1.0, "fan_in", "truncated_normal")


@keras.saving.register_keras_serializable(package="keras_dnn")
class LeCunUniform(Preset):
    r"""Draws from LeCun's uniform distribution, for SELU.

    $$
    r = \sqrt{\frac{3}{n_\mathrm{in}}}
    $$

    Sums have the same variance as the inputs, which SELU then keeps. The
    weights lie between $-r$ and $r$. The variance $r^2 / 3$ is that of `LeCunNormal`.

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
        >>> from keras_dnn.initializers import LeCunUniform
        >>> layer = keras.layers.Dense(400, kernel_initializer=LeCunUniform(seed=1))
        >>> layer.build((None, 100))
        >>> round(float(keras.ops.std(layer.kernel)), 2)
        0.1

    Reference:
        Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, "Efficient BackProp", 1998.
        G. Klambauer et al., "Self-normalizing neural networks", 2017.
    """

    _preset = (1.0, "fan_in", "uniform")
