"""Blocks: how the weights of a model are laid out for the update.

The time of a step over many small tensors goes into starting each operation on each of
them. So small weights of one dtype are packed: their gradients are joined to a vector,
each slot is a vector, and the rule runs once for all of them. With 174 tensors of 4,096
entries Adam then takes a quarter of the time (`bench_optimizers`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

# Above this many entries, joining and splitting cost more than starting the rule's
# operations for each weight, and starting a compiled function costs less than it saves.
SMALL = 2**15


@dataclass(frozen=True)
class Block:
    """Weights that the rule sees as one tensor.

    Attributes:
        members: the positions of the weights among the optimizer's variables.
        shapes: the shape of each.
        dtype: the dtype of all of them.
    """

    members: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str

    @property
    def packed(self) -> bool:
        """Whether there are several weights, joined to a vector."""
        return len(self.members) > 1

    @property
    def sizes(self) -> list[int]:
        """How many entries each of them has."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor that the rule sees."""
        return (sum(self.sizes),) if self.packed else self.shapes[0]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Joins the tensors of the members to one."""
        if not self.packed:
            return tf.convert_to_tensor(tensors[0])
        return tf.concat([tf.reshape(t, (-1,)) for t in tensors], axis=0)

    def split(self, tensor: Tensor) -> list[Tensor]:
        """Splits one tensor into those of the members."""
        if not self.packed:
            return [tensor]
        parts = zip(tf.split(tensor, self.sizes), self.shapes, strict=True)
        return [tf.reshape(part, shape) for part, shape in parts]

    def repeat_for_entries(self, numbers: Sequence[float]) -> Tensor:
        """One number for each member, repeated for each of its entries."""
        return tf.repeat(tf.constant(numbers, self.dtype), self.sizes)


def partition(variables: Sequence[Any], pack: bool) -> tuple[Block, ...]:
    """Lays variables out in blocks.

    The layout depends only on their shapes and dtypes, so that a saved state fits the
    same model on another machine.

    Args:
        variables: the optimizer's variables.
        pack: whether small ones are packed.
    """
    alone: list[Block] = []
    small: dict[str, list[Block]] = {}
    for i, variable in enumerate(variables):
        if getattr(variable, "overwrite_with_gradient", False):
            continue
        shape = tuple(variable.shape)
        dtype = tf.as_dtype(variable.dtype).name
        block = Block((i,), (shape,), dtype)
        fits = pack and math.prod(shape) <= SMALL
        (small.setdefault(dtype, []) if fits else alone).append(block)
    packs = [
        Block(
            tuple(b.members[0] for b in blocks),
            tuple(b.shapes[0] for b in blocks),
            dtype,
        )
        for dtype, blocks in small.items()
    ]
    return (*alone, *packs)
