"""The Keras model on whose behalf a strategy is called.

Keras does not say; but its method is below on the stack.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import NamedTuple

import keras


class Caller(NamedTuple):
    """A method of a compiled or predicting model."""

    model: keras.Model
    method: str


def caller() -> Caller | None:
    """The nearest method of a Keras model on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        model = frame.f_locals.get("self")
        if isinstance(model, keras.Model):
            return Caller(model, frame.f_code.co_name)
        frame = frame.f_back
    return None
