"""Parts of a step: where the rule meets the weights of one block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.optimizers import _gradients
from keras_dnn.optimizers._weight_blocks import Block

Rule = Callable[..., Any]
"""Gradient and slots to the change of the weights and the new slots."""


@dataclass(frozen=True, eq=False)
class Part:
    """What the rule needs to update the weights of one block.

    Attributes:
        block: the layout.
        weights: the variables.
        gradients: of each of them, `None` where there is none.
        slots: the rule's variables for the block.
        decay: what each weight loses of itself in the step, `None` for nothing.
        decays: which of the weights do.
        lazy: for each weight, which rows change; `False` for all, `True` for those
            whose gradient is not zero, where it is not known which were named.
        bounds: for each weight, what brings it back after the update, or `None`.
    """

    block: Block
    weights: Sequence[Any]
    gradients: Sequence[Tensor | None]
    slots: Sequence[Any]
    decay: Any
    decays: Sequence[bool]
    lazy: Sequence[Any]
    bounds: Sequence[Callable[[Tensor], Tensor] | None]

    @property
    def numbers(self) -> int:
        """How many numbers there are to update."""
        return math.prod(self.block.shape)

    @property
    def sparse(self) -> bool:
        """Whether only some rows of a table are to be touched."""
        return _gradients.is_sparse(self.gradients[0])

    def update_rows(self, rule: Rule, lazy: bool) -> None:
        """Updates the rows that a sparse gradient names.

        Args:
            rule: the update rule.
            lazy: whether the other rows are spared the weight decay too.
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

    def join(self) -> tuple[Tensor, Tensor, Tensor]:
        """The block's gradient and, where needed, its mask and packed weights."""
        gradients = [
            tf.zeros(shape, self.block.dtype) if g is None else g
            for g, shape in zip(self.gradients, self.block.shapes, strict=True)
        ]
        packed = self._decaying and self.block.packed
        theta = self.block.join(self.weights) if packed else None
        return self.block.join(gradients), self._mask(gradients), theta

    def compute(
        self, rule: Rule, gradient: Tensor, mask: Tensor, theta: Tensor
    ) -> Tensor:
        """Runs the rule, stores the new slots and returns the change of the weights.

        A change that is itself a slot, as that of momentum, is returned as the slot's
        variable, so that nobody computes it a second time.
        """
        slots = [tf.convert_to_tensor(slot) for slot in self.slots]
        change, new = _split(rule(gradient, *slots))
        same = [s for s, n in zip(self.slots, new, strict=True) if n is change]
        if self._decaying:
            theta = tf.convert_to_tensor(self.weights[0]) if theta is None else theta
            share = self.decay
            if not all(self.decays):
                share = share * self.block.spread([float(d) for d in self.decays])
            change -= share * theta
        if mask is not None:
            new = [tf.where(mask, n, s) for n, s in zip(new, slots, strict=True)]
            change = tf.where(mask, change, tf.zeros_like(change))
        for slot, value in zip(self.slots, new, strict=True):
            slot.assign(value)
        exact = not self._decaying and mask is None
        return same[0] if same and exact else change

    def add(self, change: Tensor) -> None:
        """Adds the change to the weights, and brings back those that have a bound."""
        changes = self.block.split(change)
        for weight, part, bound in zip(self.weights, changes, self.bounds, strict=True):
            weight.assign_add(part)
            if bound is not None:
                weight.assign(bound(tf.convert_to_tensor(weight)))

    @property
    def _decaying(self) -> bool:
        return self.decay is not None and any(self.decays)

    def _mask(self, gradients: Sequence[Tensor]) -> Tensor:
        """Which entries of the block change, `None` for all."""
        everything = all(rows is False for rows in self.lazy)
        if everything and not any(g is None for g in self.gradients):
            return None
        masks = []
        for given, g, rows in zip(self.gradients, gradients, self.lazy, strict=True):
            mask = tf.fill(tf.shape(g), given is not None)
            others = list(range(1, len(g.shape)))
            if rows is True:
                mask &= tf.reduce_any(g != 0, axis=others, keepdims=True)
            elif rows is not False:
                mask &= tf.reshape(rows, [-1] + [1] * len(others))
            masks.append(mask)
        return self.block.join(masks)


def run(parts: Sequence[Part], rule: Rule, fused: bool) -> None:
    """Updates the weights of blocks with dense gradients.

    Args:
        parts: the blocks.
        rule: the update rule.
        fused: whether XLA compiles the rule into loops over whole tensors. Joining and
            splitting stay outside: XLA is slow at many small tensors.
    """
    if not parts:
        return
    inputs = [part.join() for part in parts]
    slots_as_changes = dict[int, Any]()

    def compute() -> list[Tensor]:
        changes = []
        for k, (part, given) in enumerate(zip(parts, inputs, strict=True)):
            change = part.compute(rule, *given)
            if isinstance(change, tf.Variable):
                slots_as_changes[k] = change
            elif not part.block.packed:
                part.add(change)
            else:
                changes.append(change)
        return changes

    if fused:
        compute = tf.function(compute, jit_compile=True, autograph=False)
    changes = iter(compute())
    for k, part in enumerate(parts):
        if k in slots_as_changes:
            part.add(tf.convert_to_tensor(slots_as_changes[k]))
        elif part.block.packed:
            part.add(next(changes))


def _split(result: Any) -> tuple[Tensor, Sequence[Tensor]]:
    """A rule's result: a change, or a change followed by slots."""
    change, *slots = result if isinstance(result, tuple) else (result,)
    return change, slots
