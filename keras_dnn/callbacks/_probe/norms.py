"""Norms that neither underflow nor overflow."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

# Between these a sum of squares in float32 has lost nothing to either end.
SMALLEST, LARGEST = 1e-30, 1e30

# From how many entries a tensor counts as large, and up to how many tensors are worth
# compiling: XLA is faster on large ones only, and slow to compile many.
LARGE = 2**15
SEVERAL = 32

# A sum over rows adds this many slices, until so few numbers are left.
ROWS = 16
FEW = 2**10


class Difference(NamedTuple):
    """`left - right`, to be measured without storing it."""

    left: Tensor
    right: Tensor


Vector = Tensor | Difference


def norms(vectors: Sequence[Vector], compiled: bool = False) -> Tensor:
    """The Euclidean norm of each vector, as one float64 tensor.

    Vanishing gradients may be as small as 1e-25. The square of that is zero in float32,
    but not in float64, in which a compiled loop squares and sums. Without compilation a
    copy in float64 would have to be stored. So there, if a sum of squares in float32 is
    very small or very large, all norms are computed again, each scaled by its vector's
    largest entry. An infinite entry gives Inf, a NaN gives NaN.

    Args:
        vectors: tensors, or differences of two.
        compiled: whether XLA may compile the computation where that is faster.
    """
    if not vectors:
        return tf.zeros((0,), tf.float64)
    vectors = [_map(entries, v) for v in vectors]
    if compiled and _worth_compiling(vectors):
        return _compiled(tuple(map(_kind, vectors)))(vectors)
    tensors = [v.left - v.right if isinstance(v, Difference) else v for v in vectors]
    # `l2_loss`, half the sum of squares, reads a tensor once and writes nothing.
    squares = 2.0 * _vector([tf.nn.l2_loss(t) for t in tensors])
    safe = tf.reduce_all((squares > SMALLEST) & (squares < LARGEST))
    return tf.cond(
        safe, lambda: tf.sqrt(squares), lambda: rare_branch(_scaled)(squares, tensors)
    )


def length(norms: Tensor) -> Tensor:
    """The norm of a vector whose parts have these norms, along the last axis."""
    largest = tf.reduce_max(norms, axis=-1, keepdims=True)
    usable = tf.math.is_finite(largest) & (largest > 0)
    scale = tf.where(usable, largest, tf.ones_like(largest))
    return scale[..., 0] * tf.norm(norms / scale, axis=-1)


def entries(tensor: Tensor) -> Tensor:
    """A tensor in float32 or float64; a sparse one as rows, repeated ones summed."""
    if isinstance(tensor, tf.IndexedSlices):
        _, position = tf.unique(tensor.indices)
        tensor = tf.math.unsorted_segment_sum(
            tensor.values, position, tf.size(tensor.indices)
        )
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.dtype == tf.float64 else tf.cast(tensor, tf.float32)


def on_this_cpu() -> bool:
    """Whether a step is being traced for one CPU; XLA can then compile parts of it."""
    if tf.executing_eagerly() or tf.distribute.has_strategy():
        return False
    return not tf.config.get_visible_devices("GPU")


def sum_of_squares(vector: Vector, dtype: str) -> Tensor:
    """The sum of squares over the first axis, whose length is known, written for XLA.

    On a CPU, XLA compiles a sum to a loop that adds one number at a time, but adds
    whole slices with vector instructions, in a third of the time for 784 x 300 numbers.
    Slicing comes before squaring, because XLA would store squares that are used often.
    """

    def squares(rows: slice) -> Tensor:
        part = _map(lambda tensor: tensor[rows], vector)
        part = part.left - part.right if isinstance(part, Difference) else part
        return tf.square(tf.cast(part, dtype))

    return _sum_of_rows(squares, _first(vector).shape)


def _sum_of_rows(take: Callable[[slice], Tensor], shape: Sequence[int]) -> Tensor:
    size = shape[0] // ROWS
    if not size or math.prod(shape) < FEW:
        return tf.reduce_sum(take(slice(None)), axis=0)
    parts = [take(slice(i * size, (i + 1) * size)) for i in range(ROWS)]
    folded = functools.reduce(tf.add, parts)
    total = _sum_of_rows(folded.__getitem__, (size, *shape[1:]))
    rest = slice(ROWS * size, shape[0])
    return total + tf.reduce_sum(take(rest), axis=0) if shape[0] % ROWS else total


def _worth_compiling(vectors: Sequence[Vector]) -> bool:
    if len(vectors) > SEVERAL or not on_this_cpu():
        return False
    tensors = tf.nest.flatten(vectors)
    return (
        all(t.shape.is_fully_defined() and t.dtype == tf.float32 for t in tensors)
        and max(math.prod(t.shape) for t in tensors) > LARGE
    )


@functools.lru_cache(maxsize=64)
def _compiled(kinds: tuple[Any, ...]) -> Callable[..., Tensor]:
    """One function for all vectors of these kinds, so that it is compiled once."""

    def norms_in_float64(vectors: Sequence[Vector]) -> Tensor:
        flat = [_map(lambda t: tf.reshape(t, (-1,)), v) for v in vectors]
        return tf.sqrt(tf.stack([sum_of_squares(v, "float64") for v in flat]))

    function: Callable[..., Tensor] = tf.function(
        norms_in_float64, jit_compile=True, autograph=False
    )
    return function


def _kind(vector: Vector) -> tuple[bool, tuple[int, ...]]:
    return isinstance(vector, Difference), tuple(_first(vector).shape)


def _first(vector: Vector) -> Tensor:
    return vector.left if isinstance(vector, Difference) else vector


def rare_branch(python_function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Wraps a branch in one function: even operations that do not run cost time."""
    function: Callable[..., Tensor] = tf.function(
        python_function, autograph=False, experimental_attributes={"_noinline": True}
    )
    return function


def _scaled(squares: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    largest = _vector([_largest(t) for t in tensors])
    scaled = _vector([tf.norm(tf.math.divide_no_nan(t, _largest(t))) for t in tensors])
    finite = tf.where(tf.math.is_inf(largest), largest, largest * scaled)
    return tf.where(tf.math.is_nan(squares), squares, finite)


def _map(function: Callable[[Tensor], Tensor], vector: Vector) -> Vector:
    if isinstance(vector, Difference):
        return Difference(*map(function, vector))
    return function(vector)


def _largest(tensor: Tensor) -> Tensor:
    # Without any entries TensorFlow's maximum is the lowest number.
    return tf.maximum(tf.reduce_max(tf.abs(tensor)), tf.zeros((), tensor.dtype))


def _vector(numbers: Sequence[Tensor]) -> Tensor:
    """Scalars of any type as one float64 vector, in few operations."""
    if len({number.dtype for number in numbers}) > 1:
        numbers = [tf.cast(number, tf.float64) for number in numbers]
    return tf.cast(tf.stack(numbers), tf.float64)
