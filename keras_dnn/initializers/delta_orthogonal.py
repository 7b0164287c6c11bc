"""Delta-orthogonal kernels: convolutions that preserve the norm of the signal.

L. Xiao, Y. Bahri, J. Sohl-Dickstein, S. Schoenholz and J. Pennington, "Dynamical
isometry and a mean field theory of CNNs", 2018, algorithm 1: an orthogonal matrix in
the middle of the window, zeros around it.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._kernel_axes import Shape
from keras_dnn._typing import Tensor
from keras_dnn.initializers._kernel import kernel_kind
from keras_dnn.initializers._orthogonal import orthogonal
from keras_dnn.initializers._seeds import RandomInitializer, Seed
from keras_dnn.initializers.gain import Activation, gain_of


@keras.saving.register_keras_serializable(package="keras_dnn")
class DeltaOrthogonal(RandomInitializer):
    r"""Draws kernels of convolutions that preserve the norm of every signal.

    The centre of the window is a random matrix with orthonormal rows, the rest is zero.
    So with stride 1 and `padding="same"` the layer rotates the vector of channels at
    each position, and

    $$
    \lVert \mathrm{conv}(x) \rVert = g \, \lVert x \rVert
    $$

    for every $x$, not only on average, and all its singular values are $g$. It allowed
    training tanh networks of ten thousand convolutions without normalisation. There
    must be at least as many filters as channels. The kernels are those of TensorFlow
    1's `convolutional_delta_orthogonal`; a grouped convolution has one such matrix for
    each group.

    Args:
        gain: $g$, above 0, or an activation whose gain `calculate_gain` computes.
        seed: with an integer each use draws the same kernel, with a
            `keras.random.SeedGenerator` or `None` another one.
        groups: number of groups of the convolution.

    Raises:
        ValueError: if a value lies outside its range, or if a kernel has fewer filters
            than channels.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import DeltaOrthogonal
        >>> layer = keras.layers.Conv2D(
        ...     8, 3, padding="same", kernel_initializer=DeltaOrthogonal()
        ... )
        >>> x = keras.random.normal((1, 5, 5, 4))
        >>> y = layer(x)
        >>> round(float(keras.ops.sum(y**2) / keras.ops.sum(x**2)), 4)
        1.0

    Reference:
        L. Xiao et al., "Dynamical isometry and a mean field theory of CNNs: how to
        train 10,000-layer vanilla convolutional neural networks", 2018.
    """

    def __init__(
        self,
        gain: float | Activation = 1.0,
        seed: Seed = None,
        *,
        groups: int = 1,
    ) -> None:
        super().__init__(seed)
        self.gain = gain_of(gain)
        self._kernel = kernel_kind("conv", groups, 1)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Draws a kernel.

        Args:
            shape: shape of the kernel, (..., channels / groups, filters).
            dtype: dtype of the kernel; by default `keras.config.floatx()`.

        Returns:
            The kernel, a tensor.
        """
        *around, channels, filters = shape
        if not around:
            raise ValueError(
                "DeltaOrthogonal is for the kernels of convolutions. Received: "
                f"shape={tuple(shape)}"
            )
        middle = (*(1 for _ in around), channels, filters)
        axes = self._kernel.axes(len(middle))
        groups, inputs, outputs = axes.matrices(middle)
        if inputs > outputs:
            raise ValueError(
                "No convolution from more channels to fewer preserves every norm. "
                f"Received: {inputs} channels and {outputs} filters in each group"
            )
        square = orthogonal((groups, outputs, outputs), self._next_seed())
        kernel = axes.from_matrices(self.gain * square[:, :inputs], middle)
        # Where `padding="same"` puts the output, also in a window of even length.
        pads = [((size - 1) // 2, size // 2) for size in around]
        kernel = keras.ops.pad(kernel, [*pads, (0, 0), (0, 0)])
        return keras.ops.cast(kernel, dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create this initializer."""
        groups = self._kernel.groups
        return {**super().get_config(), "gain": self.gain, "groups": groups}
