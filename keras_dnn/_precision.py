"""The precision of losses and probabilities, whatever the rest computes in."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import keras

from keras_dnn._keras.result_types import float64_results


@contextmanager
def float64_arithmetic() -> Iterator[None]:
    """Computes in float64 what asks for it, also on JAX and PyTorch.

    They take float32 in its place unless they are told otherwise.
    """
    with ExitStack() as stack:
        stack.enter_context(float64_results())
        if keras.backend.backend() == "jax":
            stack.enter_context(importlib.import_module("jax").enable_x64(True))
        yield


def at_least_float32(dtype: str) -> str:
    """The dtype of a loss or a probability that is computed from this dtype.

    Half precision is too coarse for them.
    """
    # Keras's own `result_type` gives float64 on TensorFlow only.
    return "float64" if dtype == "float64" else "float32"
