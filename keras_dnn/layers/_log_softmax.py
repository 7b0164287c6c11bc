"""Logarithms of probabilities, in no less than float32."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_dnn._precision import at_least_float32
from keras_dnn._typing import Tensor


def log_softmax(logits: Tensor, filled: Tensor | None = None) -> Tensor:
    """The logarithm of softmax along the last axis, over places that are filled."""
    dtype = at_least_float32(str(ops.dtype(logits)))
    logits = ops.cast(logits, dtype)
    if filled is not None:
        logits = ops.where(filled, logits, -np.inf)
    return ops.log_softmax(logits)
