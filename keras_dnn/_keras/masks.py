"""The mask that Keras attaches to a tensor, which no copy of the tensor carries."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import Tensor


def mask_of(tensor: Tensor) -> Tensor | None:
    """The mask attached to a tensor, if there is one."""
    mask: Tensor | None = keras.src.backend.common.masking.get_keras_mask(tensor)
    return mask


def attach_mask(tensor: Tensor, mask: Any) -> None:
    """Attaches a mask to a tensor, for the next layer to find."""
    keras.src.backend.common.masking.set_keras_mask(tensor, mask)


def with_mask_of(tensor: Tensor, copy: Tensor, rows: slice | None = None) -> Tensor:
    """A copy of a tensor with the mask that it had.

    Args:
        tensor: which may carry a mask.
        copy: what was made of it.
        rows: those of the tensor that the copy holds; `None` for all.
    """
    mask = mask_of(tensor)
    if mask is not None:
        attach_mask(copy, mask if rows is None else mask[rows])
    return copy
