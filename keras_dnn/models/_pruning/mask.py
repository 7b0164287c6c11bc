"""The constraint that keeps pruned weights at zero while a model goes on training.

    w <- m * c(m * w)

with the mask m of zeros and ones and the constraint c that the layer has already. The
weights are masked before it, so that it measures what is left, and after it, for one
that would move a zero.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn._json_arrays import from_json, to_json
from keras_dnn._typing import Tensor


@keras.saving.register_keras_serializable(package="keras_dnn")
class PruningMask(keras.constraints.Constraint):
    """Sets weights to zero after every update, always the same ones.

    Args:
        mask: true where a weight stays, of the shape of the weights; or what
            `get_config` makes of it.
        constraint: the layer's own one. The mask of an earlier pruning is merged.
    """

    def __init__(self, mask: Any, constraint: Any = None) -> None:
        self.mask = from_json(mask) if isinstance(mask, dict) else np.asarray(mask)
        self.constraint = keras.constraints.get(constraint)
        if isinstance(self.constraint, PruningMask):
            self.mask = self.mask & self.constraint.mask
            self.constraint = self.constraint.constraint

    def __call__(self, w: Tensor) -> Tensor:
        w = self._masked(keras.ops.convert_to_tensor(w))
        return w if self.constraint is None else self._masked(self.constraint(w))

    def _masked(self, w: Tensor) -> Tensor:
        # Not a product, in which a weight that is NaN would stay NaN.
        return keras.ops.where(self.mask, w, keras.ops.zeros_like(w))

    def get_config(self) -> dict[str, Any]:
        return {
            "mask": to_json(self.mask.astype(bool)),
            "constraint": keras.constraints.serialize(self.constraint),
        }
