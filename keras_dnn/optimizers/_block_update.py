"""Block updates: where the rule meets the weights of one block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _gradients
from keras_dnn.optimizers._weight_blocks import Block

UpdateFunction = Callable[..., Any]
"""Maps gradient and slots to the change of the weights and the new slots."""


class Inputs(NamedTuple):
    """The tensors of a block, joined before the rule runs.

    Attributes:
        gradient: of the block.
        mask: which entries change, `None` for all.
        weights: packed weights that decay, else `None`.
    """

    gradient: Tensor
    mask: Tensor | None
    weights: Tensor | None


class Change(NamedTuple):
    """What the rule adds to the weights of a block.

    Attributes:
        value: the tensor.
        slot: the variable of the slot that is the same tensor, as the velocity of
            momentum is; else `None`. It can be read instead of computed again.
    """

    value: Tensor
    slot: Any


@dataclass(frozen=True, eq=False)
class BlockUpdate:
    """What the rule needs to update the weights of one block.

    Attributes:
        block: the layout.
        weights: the variables.
        gradients: of each of them, `None` where there is none.
        slots: the rule's variables for the block.
        decay: the fraction of itself that a weight loses in the step, or `None`.
        decays: for each weight, whether it has weight decay.
        lazy: for each weight, whether only rows with a gradient change.
        named_rows: for each lazy weight, which rows its gradient names; `None` where
            that is not known, and rows change whose gradient is not zero.
        constraints: for each weight, what is applied along with the update, or `None`.
    """

    block: Block
    weights: Sequence[Any]
    gradients: Sequence[Tensor | None]
    slots: Sequence[Any]
    decay: Any
    decays: Sequence[bool]
    lazy: Sequence[bool]
    named_rows: Sequence[Tensor | None]
    constraints: Sequence[Callable[[Tensor], Tensor] | None]

    @property
    def size(self) -> int:
        """How many entries there are to update."""
        return math.prod(self.block.shape)

    @property
    def sparse(self) -> bool:
        """Whether the gradient names rows, and only these are computed."""
        return _gradients.is_sparse(self.gradients[0])

    def update_rows(self, rule: UpdateFunction, lazy: bool) -> None:
        """Updates the rows that a sparse gradient names.

        Args:
            rule: the update rule.
            lazy: whether the other rows have no weight decay either.
        """
        weight, gradient = self.weights[0], self.gradients[0]
        assert gradient is not None
        rows = gradient.indices
        if self._decaying and not lazy:
            weight.assign_sub(self.decay * tf.convert_to_tensor(weight))
        change, new = _split(
            rule(gradient.values, *(tf.gather(slot, rows) for slot in self.slots))
        )
        if self._decaying and lazy:
            change -= self.decay * tf.gather(weight, rows)
        for slot, value in zip(self.slots, new, strict=True):
            slot.scatter_update(tf.IndexedSlices(value, rows))
        weight.scatter_add(tf.IndexedSlices(change, rows))

    def join(self) -> Inputs:
        """The block's gradient and, where needed, its mask and packed weights."""
        gradients = [
            tf.zeros(shape, self.block.dtype) if g is None else g
            for g, shape in zip(self.gradients, self.block.shapes, strict=True)
        ]
        packed = self._decaying and self.block.packed
        weights = self.block.join(self.weights) if packed else None
        return Inputs(self.block.join(gradients), self._mask(gradients), weights)

    def compute(self, rule: UpdateFunction, inputs: Inputs) -> Change:
        """Runs the rule, stores the new slots and returns the change of the weights."""
        slots = [tf.convert_to_tensor(slot) for slot in self.slots]
        change, new = _split(rule(inputs.gradient, *slots))
        same = [s for s, n in zip(self.slots, new, strict=True) if n is change]
        if self._decaying:
            change -= self._loss_by_decay(inputs)
        if inputs.mask is not None:
            new = [tf.where(inputs.mask, n, s) for n, s in zip(new, slots, strict=True)]
            change = tf.where(inputs.mask, change, tf.zeros_like(change))
        for slot, value in zip(self.slots, new, strict=True):
            slot.assign(value)
        unaltered = not self._decaying and inputs.mask is None
        return Change(change, same[0] if same and unaltered else None)

    def add(self, change: Tensor) -> None:
        """Adds the change to the weights, and applies constraints to the sums."""
        changes = self.block.split(change)
        for weight, part, constraint in zip(
            self.weights, changes, self.constraints, strict=True
        ):
            weight.assign_add(part)
            if constraint is not None:
                weight.assign(constraint(tf.convert_to_tensor(weight)))

    @property
    def _decaying(self) -> bool:
        return self.decay is not None and any(self.decays)

    def _loss_by_decay(self, inputs: Inputs) -> Tensor:
        """How much weight decay takes from the weights."""
        theta = inputs.weights
        if theta is None:
            theta = tf.convert_to_tensor(self.weights[0])
        if all(self.decays):
            return self.decay * theta
        decays = self.block.repeat_for_entries([float(d) for d in self.decays])
        return self.decay * decays * theta

    def _mask(self, gradients: Sequence[Tensor]) -> Tensor | None:
        """Which entries of the block change, `None` for all.

        Args:
            gradients: of the weights, zero where there is none.
        """
        if not any(self.lazy) and not any(g is None for g in self.gradients):
            return None
        masks = []
        for i, gradient in enumerate(gradients):
            mask = tf.fill(tf.shape(gradient), self.gradients[i] is not None)
            if self.lazy[i]:
                mask &= _changing_rows(gradient, self.named_rows[i])
            masks.append(mask)
        return self.block.join(masks)


def run(updates: Sequence[BlockUpdate], rule: UpdateFunction, fused: bool) -> None:
    """Updates the weights of blocks with dense gradients.

    Args:
        updates: one for each block.
        rule: the update rule.
        fused: whether XLA compiles the rule into one loop over each tensor. Joining
            and splitting stay outside: XLA is slow at many small tensors.
    """
    if not updates:
        return
    inputs = [update.join() for update in updates]
    slots_as_changes = dict[int, Any]()

    def compute() -> list[Tensor]:
        packed_changes = []
        for i, update in enumerate(updates):
            change = update.compute(rule, inputs[i])
            if change.slot is not None:
                slots_as_changes[i] = change.slot
            elif update.block.packed:
                packed_changes.append(change.value)
            else:
                update.add(change.value)
        return packed_changes

    if fused:
        compute = tf.function(compute, jit_compile=True, autograph=False)
    packed_changes = iter(compute())
    for i, update in enumerate(updates):
        if i in slots_as_changes:
            update.add(tf.convert_to_tensor(slots_as_changes[i]))
        elif update.block.packed:
            update.add(next(packed_changes))


def _changing_rows(gradient: Tensor, named: Tensor | None) -> Tensor:
    """A mask of the rows of a lazy weight that change, to multiply with its entries."""
    columns = list(range(1, len(gradient.shape)))
    if named is None:
        return tf.reduce_any(gradient != 0, axis=columns, keepdims=True)
    return tf.reshape(named, [-1] + [1] * len(columns))


def _split(result: Any) -> tuple[Tensor, Sequence[Tensor]]:
    """A rule's result: a change, or a change followed by slots."""
    change, *slots = result if isinstance(result, tuple) else (result,)
    return change, slots
