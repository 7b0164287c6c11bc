"""The constraint that keeps pruned weights at zero while a model trains.

    w <- m * c(m * w)

with a mask m of zeros and ones and the constraint c that the layer already has. The
weights are masked before c, so that it measures the remaining weights, and after it, in
case it moves a zero.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn._json_arrays import from_json, to_json
from keras_dnn._typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dnn")
class PruningMask(keras.constraints.Constraint):
    """Sets the same weights to zero after every update.

    Args:
        mask: true where a weight remains, of the shape of the weights; or its form in
            `get_config`.
        constraint: the layer's own constraint. The mask of an earlier pruning is
            merged.
    """

    def __init__(
        self,
        mask: np.ndarray | dict[str, Any],
        constraint: keras.constraints.Constraint | None = None,
    ) -> None:
        self.mask = from_json(mask) if isinstance(mask, dict) else np.asarray(mask)
        self.constraint: keras.constraints.Constraint | None = keras.constraints.get(
            constraint
        )
        if isinstance(self.constraint, PruningMask):
            self.mask = self.mask & self.constraint.mask
            self.constraint = self.constraint.constraint

    def __call__(self, w: Tensor) -> Tensor:
        w = self._masked(keras.ops.convert_to_tensor(w))
        return w if self.constraint is None else self._masked(self.constraint(w))

    def _masked(self, w: Tensor) -> Tensor:
        # Not a product, in which NaN would stay NaN.
        return keras.ops.where(self.mask, w, keras.ops.zeros_like(w))

    def get_config(self) -> dict[str, Any]:
        return {
            "mask": to_json(self.mask.astype(bool)),
            "constraint": keras.constraints.serialize(self.constraint),
        }
