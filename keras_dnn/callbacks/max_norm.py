"""Max-norm: a bound on the weights that lead into each neuron."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import own_weights, sublayers, sublayers_of
from keras_dnn._kernel_axes import Axes
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._incoming_weights import incoming_weights
from keras_dnn.callbacks._probe.norms import LARGE, on_this_cpu, sum_of_squares
from keras_dnn.callbacks.probe import Probe


class MaxNorm(Probe):
    r"""Keeps the norm of each neuron's incoming weights below a bound.

    After every update, the vector $\mathbf{w}$ of weights that lead into a neuron is
    projected onto the ball of radius $r$:

    $$
    \mathbf{w} \leftarrow \mathbf{w} \, \frac{r}{\max(r, \lVert \mathbf{w} \rVert_2)}
    $$

    A vector inside the ball stays as it is, to the last bit. The same is done once when
    training begins, if the model is built by then, and once when it ends (the averages
    that `use_ema` leaves may lie outside). Biases are left alone.

    The neurons are the units of a `Dense`, the features of an `EinsumDense` or of an
    attention layer's projections, the filters of a convolution (transposed and grouped
    ones too), the channels of a depthwise one (a separable one is bounded in both its
    kernels), the gates of a recurrent cell (its kernel and its recurrent kernel
    separately) and the rows of an embedding. Constraints that the model has already are
    applied first. When `fit` is over, however it ends, its constraints are as before.
    A layer with a LoRA adapter multiplies by the sum of a frozen kernel and of what the
    adapter learns. No scaling of the adapter brings that sum into the ball in general,
    so such a layer is refused.

    Args:
        max_value: the radius $r$, above 0. Small values regularise more; 1 to 4 is
            usual.
        layers: names or layers to bound, with the layers inside them; by default all
            layers of the kinds above.
        axis: axis or axes to take the norm over, in place of those described above.
            With it, `layers` may name layers of other kinds; all their weights with
            more than one axis are bounded.

    Raises:
        ValueError: if `max_value` is not above 0, or, in `fit`, if a named layer is not
            in the model or has nothing to bound, if a layer has a LoRA adapter, or
            `axis` is not one of its axes.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import MaxNorm
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse")
        >>> x = np.ones((8, 3))
        >>> history = model.fit(x, 9 * x[:, :2], verbose=0, callbacks=[MaxNorm(0.5)])
        >>> bool((np.linalg.norm(model.layers[0].kernel, axis=0) < 0.5001).all())
        True

    Reference:
        N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting", 2014.
    """

    def __init__(
        self,
        max_value: float,
        layers: Sequence[str | keras.layers.Layer] | None = None,
        axis: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.max_value: float = _arguments.number("max_value", max_value, bounds="()")
        self.layers: list[str | keras.layers.Layer] | None = (
            None if layers is None else _arguments.several("layers", layers)
        )
        self.axis: Axes | None = None if axis is None else _axes(axis)
        self._bounded: list[tuple[keras.Variable, _Bound]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sets the bound."""
        # A model that the first batch builds has no weights yet to project.
        self._ready = self.model.built
        super().on_train_begin(logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Projects averaged weights too, and puts the constraints back."""
        self._project()
        super().on_train_end(logs)

    def create(self, variables: Sequence[keras.Variable]) -> None:
        """Sets the bound, as a constraint that the optimizer applies."""
        self.release()  # The constraints that an interrupted fit left.
        self._bounded = [
            (kernel, _Bound(self.max_value, axes, kernel.constraint))
            for kernel, axes in self._kernels()
        ]
        for kernel, bound in self._bounded:
            kernel.constraint = bound
        if self._ready:
            self._project()

    def release(self) -> None:
        """Puts the model's own constraints back."""
        for kernel, bound in self._bounded:
            kernel.constraint = bound.own
        self._bounded = []

    def _project(self) -> None:
        for kernel, bound in self._bounded:
            if kernel.trainable:
                kernel.assign(bound.projected(kernel.value))

    def _kernels(self) -> list[tuple[keras.Variable, Axes]]:
        if self.layers is None:
            found = self._kernels_in(sublayers(self.model))
            if not found:
                raise ValueError(
                    "The model has no layer that MaxNorm knows. Give layers and axis. "
                    f"Received: model={self.model.name!r}, layers=None"
                )
            return found
        found = []
        for choice in self.layers:
            kernels = self._kernels_in(sublayers_of(self.model, choice))
            if not kernels:
                raise ValueError(
                    "layers must name layers of the model with weights to bound, and "
                    "axis must be given for kinds that MaxNorm does not know. "
                    f"Received: {choice!r}"
                )
            found += kernels
        return list({id(kernel): (kernel, axes) for kernel, axes in found}.values())

    def _kernels_in(
        self, layers: Iterable[keras.layers.Layer]
    ) -> list[tuple[keras.Variable, Axes]]:
        found = []
        for layer in layers:
            if getattr(layer, "lora_enabled", False):
                raise ValueError(
                    "MaxNorm cannot bound a layer with a LoRA adapter, whose kernel is "
                    "a sum with a frozen part. Give layers without it. "
                    f"Received: {layer.name!r}, layers={self.layers!r}"
                )
            known = list(incoming_weights(layer))
            if self.axis is None:
                found += known
            elif known or self.layers is not None:
                kernels = [kernel for kernel, _ in known] or _matrices(layer)
                found += [(kernel, self._axis_of(kernel)) for kernel in kernels]
        return found

    def _axis_of(self, kernel: keras.Variable) -> Axes:
        assert self.axis is not None
        rank = len(kernel.shape)
        if not all(-rank <= axis < rank for axis in self.axis):
            raise ValueError(
                f"axis must be in [{-rank}, {rank}) for {kernel.path}, which has the "
                f"shape {tuple(kernel.shape)}. Received: axis={self.axis}"
            )
        return self.axis


class _Bound(keras.constraints.Constraint):
    """A constraint: the model's own, if it has one, and then the bound."""

    def __init__(
        self, radius: float, axes: Axes, own: Callable[[Tensor], Tensor] | None
    ) -> None:
        self.radius = radius
        self.axes = axes
        self.own = own
        # Whether our optimizers may compile it together with their update.
        self.joins_update = own is None

    def __call__(self, weights: Tensor) -> Tensor:
        weights = keras.ops.convert_to_tensor(weights)
        weights = weights if self.own is None else self.own(weights)
        # Keras's optimizers pass a variable, which `keras.ops` does not convert.
        return self.projected(tf.convert_to_tensor(weights))

    def projected(self, weights: Tensor) -> Tensor:
        leading = self.axes == tuple(range(len(self.axes)))
        large = math.prod(weights.shape) > LARGE
        if not (leading and large and on_this_cpu()):
            return self._scaled(weights, _squares)

        def compiled(weights: Tensor) -> Tensor:
            return self._scaled(weights, _squares_for_xla)

        return tf.function(compiled, jit_compile=True, autograph=False)(weights)

    def _scaled(self, weights: Tensor, squares_of: Callable[..., Tensor]) -> Tensor:
        exact = tf.cast(
            weights, tf.float64 if weights.dtype == tf.float64 else "float32"
        )
        radius = tf.constant(self.radius, exact.dtype)
        squares = squares_of(exact, self.axes)
        # Inside, the factor is exactly 1.
        factor = radius / tf.maximum(tf.sqrt(squares), radius)
        return tf.cast(exact * factor, weights.dtype)


def _squares(tensor: Tensor, axes: Axes) -> Tensor:
    return tf.reduce_sum(tf.square(tensor), axes, keepdims=True)


def _squares_for_xla(tensor: Tensor, axes: Axes) -> Tensor:
    """The same for leading axes, in a form that XLA computes fast."""
    summed, kept = tensor.shape[: len(axes)], tensor.shape[len(axes) :]
    matrix = tf.reshape(tensor, (math.prod(summed), math.prod(kept)))
    squares = sum_of_squares(matrix, tensor.dtype.name)
    return tf.reshape(squares, (*[1] * len(axes), *kept))


def _axes(axis: int | Sequence[int]) -> Axes:
    axes = (axis,) if isinstance(axis, int) else tuple(_arguments.several("axis", axis))
    if not axes or not all(isinstance(a, int) for a in axes):
        raise ValueError(
            f"axis must be an integer or several of them. Received: axis={axis!r}"
        )
    return axes


def _matrices(layer: keras.layers.Layer) -> list[keras.Variable]:
    return [v for v in own_weights(layer) if len(v.shape) > 1]
