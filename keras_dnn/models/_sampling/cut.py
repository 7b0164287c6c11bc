"""What the random part of a model takes from the rest, a row for each input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras

from keras_dnn._keras.masks import attach_mask, mask_of
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


class Cut(NamedTuple):
    """What the second part of a model takes from the first, for some inputs.

    Attributes:
        values: by their position in the cut set; an optional input may have none.
        masks: by the position of a value, the mask that Keras attached to it. A tensor
            loses its mask where it leaves a compiled function, and wherever it is
            repeated or divided.
    """

    values: dict[int, Tensor]
    masks: dict[int, Tensor]

    @classmethod
    def of(cls, values: Sequence[Tensor | None]) -> Cut:
        """These values, with the masks that they carry."""
        given = {i: value for i, value in enumerate(values) if value is not None}
        found = {i: mask_of(value) for i, value in given.items()}
        masks = {i: mask for i, mask in found.items() if mask is not None}
        return cls({i: _tensor(value) for i, value in given.items()}, masks)

    def each(self, function: Callable[[Tensor], Any]) -> Cut:
        """What the function returns for each value and mask, in their places."""
        values = {i: function(value) for i, value in self.values.items()}
        return Cut(values, {i: function(mask) for i, mask in self.masks.items()})

    def can_be_divided(self, rows: int) -> bool:
        """Whether each tensor has one part, or several, for each of these inputs."""
        tensors = [*self.values.values(), *self.masks.values()]
        return all(_has_rows(tensor, rows) for tensor in tensors)

    def part(self, start: int, end: int, rows: int) -> Cut:
        """What belongs to these of `rows` inputs."""
        if start == 0 and end >= rows:
            return self
        return self.each(partial(_part, start=start, end=end, rows=rows))

    def repeated(self, rows: Tensor, times: Tensor) -> Cut:
        """The rows of each of `rows` inputs, `times` times one after another."""
        return self.each(partial(_repeated, rows=rows, times=times))

    def masked_values(self, count: int) -> list[Tensor | None]:
        """The values of a cut set of `count` tensors, each with its mask attached."""
        values = [self.values.get(i) for i in range(count)]
        for i, mask in self.masks.items():
            # A tensor of its own, so that no mask stays on one that someone else has.
            values[i] = tf.identity(values[i])
            attach_mask(values[i], mask)
        return values


def rows_of(x: Any) -> int:
    """How many inputs a batch has."""
    first = next(part for part in keras.tree.flatten(x) if part is not None)
    return int(first.nrows() if isinstance(first, tf.RaggedTensor) else first.shape[0])


def spec(tensor: Tensor | None) -> Any:
    """What a compiled function knows of a tensor of any number of rows."""
    if tensor is None:
        return None
    shape = [None, *tensor.shape[1:]]
    if isinstance(tensor, tf.SparseTensor):
        return tf.SparseTensorSpec(shape, tensor.dtype)
    if isinstance(tensor, tf.RaggedTensor):
        rank, splits = tensor.ragged_rank, tensor.row_splits.dtype
        return tf.RaggedTensorSpec(shape, tensor.dtype, rank, splits)
    return tf.TensorSpec(shape, tensor.dtype)


def _repeated(tensor: Tensor, rows: Tensor, times: Tensor) -> Tensor:
    """The rows of each of `rows` inputs, `times` times one after another."""
    inner = [n or tf.shape(tensor)[i + 1] for i, n in enumerate(tensor.shape[1:])]
    parts = tf.reshape(tensor, [rows, 1, tf.shape(tensor)[0] // rows, *inner])
    times_each = tf.tile(parts, [1, times] + [1] * (len(inner) + 1))
    return tf.reshape(times_each, [-1, *inner])


def _has_rows(tensor: Tensor, rows: int) -> bool:
    """Whether a tensor can be divided into one part for each of `rows` inputs."""
    dense = isinstance(tensor, tf.Tensor)
    return dense and bool(tensor.shape) and tensor.shape[0] % rows == 0


def _part(tensor: Tensor, start: int, end: int, rows: int) -> Tensor:
    """The part of a tensor that belongs to these of `rows` inputs."""
    parts = tensor.shape[0] // rows
    return tensor[start * parts : end * parts]


def _tensor(value: Any) -> Tensor:
    if isinstance(value, tf.SparseTensor | tf.RaggedTensor):
        return value
    return tf.convert_to_tensor(value)
