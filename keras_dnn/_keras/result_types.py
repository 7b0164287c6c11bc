"""The type of a result, which Keras reduces to 32 bits on JAX and PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def float64_results() -> Iterator[None]:
    """Lets operations on float64 give float64 on every backend.

    Outside TensorFlow Keras casts what a matrix product or a batch norm is given to
    float32 first, and says float64 of the result.
    """
    # Not public, but there is no other way to ask for it.
    types = keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE
    before = types["float64"]
    types["float64"] = "float64"
    try:
        yield
    finally:
        types["float64"] = before
