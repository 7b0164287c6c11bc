"""The Keras model on whose behalf a strategy is called.

Keras does not say; but its method is below on the stack.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, NamedTuple

import keras
import numpy as np

KERAS_BATCH_SIZE = 32
"""What `fit` takes if it is not told."""


class Caller(NamedTuple):
    """A model, its method, and the size of the batches that this makes of arrays."""

    model: keras.Model
    method: str
    batch_size: int | None


def caller() -> Caller | None:
    """The nearest method of a Keras model on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        model = frame.f_locals.get("self")
        if isinstance(model, keras.Model):
            return Caller(model, frame.f_code.co_name, _batch_size(frame.f_locals))
        frame = frame.f_back
    return None


def _batch_size(given: dict[str, Any]) -> int | None:
    is_array = isinstance(given.get("x"), np.ndarray)
    return (given.get("batch_size") or KERAS_BATCH_SIZE) if is_array else None
