"""Variance scaling: the rule behind Glorot's, He's and LeCun's initial weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import keras

from keras_dnn import _arguments
from keras_dnn._keras.call_stack import building_layer
from keras_dnn._kernel_axes import KernelAxes, Shape, Strides, einsum_axes
from keras_dnn._typing import Tensor
from keras_dnn.initializers._kernel import Kind, kernel_kind
from keras_dnn.initializers._seeds import RandomInitializer, Seed
from keras_dnn.initializers.gain import Activation, gain_of

Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg"]
Distribution: TypeAlias = Literal["truncated_normal", "untruncated_normal", "uniform"]

# A standard normal variable within [-2, 2] has the variance 1 - 4 φ(2) / P(|z| < 2).
TRUNCATED_STD = math.sqrt(
    1.0 - 4.0 * math.exp(-2.0) / math.sqrt(2.0 * math.pi) / math.erf(math.sqrt(2.0))
)


@keras.saving.register_keras_serializable(package="keras_dnn")
class VarianceScaling(RandomInitializer, keras.initializers.VarianceScaling):
    r"""Draws weights with a variance that depends on the number of connections.

    $$
    \sigma^2 = g^2 \, \frac{\mathrm{scale}}{n}, \qquad
    n = n_\mathrm{in},\; n_\mathrm{out} \text{ or } \tfrac{1}{2}(n_\mathrm{in} +
    n_\mathrm{out})
    $$

    $n_\mathrm{in}$ is the number of inputs that a unit sums up, $n_\mathrm{out}$ the
    number of units that an input reaches. An initializer receives only a shape, which
    does not say what its axes mean. So the kind of kernel, its groups and its strides
    are arguments. Without them the numbers are Keras's, which are correct for `Dense`
    and for `Conv1D`, `Conv2D` and `Conv3D` with one group and stride 1. With a window
    of $k$ entries and $s$ the product of the strides:

    - `"conv"` (..., in / groups, out): $n_\mathrm{in} = k \cdot$ in / groups,
      $n_\mathrm{out} = k \cdot$ out / (groups $\cdot\, s$)
    - `"depthwise"` (..., in, multiplier): $n_\mathrm{in} = k$,
      $n_\mathrm{out} = k \cdot$ multiplier $/\, s$
    - `"transposed"` (..., out, in): $n_\mathrm{in} = k \cdot$ in $/\, s$,
      $n_\mathrm{out} = k \cdot$ out

    The axes of an `EinsumDense` and of the projections of an attention layer are known
    without arguments: all axes that are summed over are inputs. For an existing model,
    `initialize` reads all this from its layers.

    Args:
        scale: factor on the variance, above 0.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`.
        distribution: `"truncated_normal"` (truncated at two standard deviations, and
            widened to have exactly the variance above), `"untruncated_normal"` or
            `"uniform"`.
        seed: with an integer each use draws the same kernel, with a
            `keras.random.SeedGenerator` or `None` another one. `None` depends on
            `keras.utils.set_random_seed`.
        gain: factor on the standard deviation, above 0, or an activation whose gain
            `calculate_gain` computes.
        fan_in: $n_\mathrm{in}$, above 0; by default from the shape.
        fan_out: $n_\mathrm{out}$, likewise.
        kernel: `"conv"` (also for dense layers), `"depthwise"` or `"transposed"`.
        groups: number of groups of a convolution.
        strides: strides of the layer, an integer or one for each axis.
        input_axes: axes of the kernel that are summed over, in place of `kernel`. Keras
            sets these two for an `EinsumDense`.
        output_axes: its other axes.

    Raises:
        ValueError: if a value lies outside its range, or does not fit the shape.

    Example:
        >>> import keras
        >>> from keras_dnn.initializers import VarianceScaling
        >>> initializer = VarianceScaling(2.0, kernel="depthwise")
        >>> layer = keras.layers.DepthwiseConv2D(3, depthwise_initializer=initializer)
        >>> layer.build((None, 16, 16, 512))
        >>> round(float(keras.ops.std(layer.kernel)), 1)  # sqrt(2 / 9)
        0.5

    Reference:
        K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing
        human-level performance on ImageNet classification", 2015.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: Mode = "fan_in",
        distribution: Distribution = "truncated_normal",
        seed: Seed = None,
        *,
        gain: float | Activation = 1.0,
        fan_in: float | None = None,
        fan_out: float | None = None,
        kernel: Kind = "conv",
        groups: int = 1,
        strides: Strides = 1,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = _arguments.number("scale", scale, bounds="()")
        self.mode = _arguments.choice("mode", mode, get_args(Mode))
        self.distribution = _arguments.choice(
            "distribution", distribution, get_args(Distribution)
        )
        self.gain = gain_of(gain)
        self.fan_in = _fan("fan_in", fan_in)
        self.fan_out = _fan("fan_out", fan_out)
        self._kernel = kernel_kind(kernel, groups, strides)
        self.input_axes = _axes("input_axes", input_axes)
        self.output_axes = _axes("output_axes", output_axes)
        if (self.input_axes is None) != (self.output_axes is None):
            raise ValueError(
                "input_axes and output_axes must be given together. Received: "
                f"input_axes={input_axes}, output_axes={output_axes}"
            )

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Draws a kernel.

        Args:
            shape: shape of the kernel.
            dtype: dtype of the kernel; by default `keras.config.floatx()`.

        Returns:
            The kernel, a tensor.
        """
        return self._draw(shape, dtype, self._axes_of(shape), self._next_seed())

    def _axes_of(self, shape: Shape) -> KernelAxes:
        """What the axes of the kernel mean: those that a layer names come first."""
        if self.input_axes is not None and self.output_axes is not None:
            axes = KernelAxes((), self.input_axes, self.output_axes)
            if sorted(self.input_axes + self.output_axes) != list(range(len(shape))):
                raise ValueError(
                    "input_axes and output_axes must be the axes of the kernel, each "
                    f"once. Received: input_axes={self.input_axes}, output_axes="
                    f"{self.output_axes} for the shape {tuple(shape)}"
                )
            return axes
        # Keras before 3.15 hands no axes to an initializer.
        layer = building_layer()
        if isinstance(layer, keras.layers.EinsumDense):
            return einsum_axes(layer.equation)
        return self._kernel.axes(len(shape))

    def _draw(self, shape: Shape, dtype: Any, axes: KernelAxes, seed: Any) -> Tensor:
        """The formula above, for a kernel whose axes are known."""
        shape = tuple(shape)
        dtype = keras.backend.standardize_dtype(dtype or keras.config.floatx())
        # Half precision would round the deviation and lose values in the tails.
        exact = dtype if dtype == "float64" else "float32"
        sigma = self.gain * math.sqrt(self.scale / self._connections(axes, shape))
        if self.distribution == "uniform":
            sigma *= math.sqrt(3.0)
            values = keras.random.uniform(shape, -1.0, 1.0, exact, seed)
        elif self.distribution == "untruncated_normal":
            values = keras.random.normal(shape, dtype=exact, seed=seed)
        else:
            sigma /= TRUNCATED_STD
            values = keras.random.truncated_normal(shape, dtype=exact, seed=seed)
        return keras.ops.cast(sigma * values, dtype)

    def _connections(self, axes: KernelAxes, shape: Shape) -> float:
        """n, or 1 for a kernel without entries."""
        fan_in, fan_out = axes.fans(shape)
        fan_in, fan_out = self.fan_in or fan_in, self.fan_out or fan_out
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2.0,
        }[self.mode]
        return n or 1.0

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create this initializer."""
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "gain": self.gain,
            "fan_in": self.fan_in,
            "fan_out": self.fan_out,
            "kernel": self._kernel.kind,
            "groups": self._kernel.groups,
            "strides": self._kernel.strides,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class Preset(VarianceScaling):
    """Base class of the initializers with a fixed scale, mode and distribution.

    Args:
        seed: as for `VarianceScaling`.
        **kwargs: its arguments from `gain` on.
    """

    _preset: tuple[float, Mode, Distribution]

    def __init__(self, seed: Seed = None, **kwargs: Any) -> None:
        super().__init__(*self._preset, seed, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create this initializer."""
        config = super().get_config()
        for name in ("scale", "mode", "distribution"):
            del config[name]
        return config


def _axes(name: str, axes: Any) -> tuple[int, ...] | None:
    if axes is None:
        return None
    return tuple(
        _arguments.count(f"an axis in {name}", axis, least=0)
        for axis in _arguments.several(name, axes)
    )


def _fan(name: str, fan: Any) -> float | None:
    return fan if fan is None else _arguments.number(name, fan, bounds="()")
