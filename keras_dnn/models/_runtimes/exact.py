"""Arrays of another dtype, without a number that changes unnoticed."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_dnn._tensorflow import tf

STRING = "string"


def as_numpy(x: Any, argument: str, name: str = "") -> np.ndarray:
    """An array of numbers, or of objects that are strings.

    Raises:
        ValueError: if `x` is no dense array.
    """
    of = f" for the input {name!r}" if name else ""
    if isinstance(x, tf.RaggedTensor | tf.SparseTensor):
        ragged = isinstance(x, tf.RaggedTensor)
        raise ValueError(
            f"{argument} must hold dense arrays{of}. Make one with "
            f"{'x.to_tensor()' if ragged else 'tf.sparse.to_dense(x)'}. "
            f"Received: a {type(x).__name__}"
        )
    try:
        a = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{argument} must hold arrays{of}, with rows of one shape. "
            f"Received: {type(x).__name__} ({error})"
        ) from error
    if a.dtype.kind in "US":
        a = a.astype(object)
    strings = a.dtype == object and all(isinstance(e, str | bytes) for e in a.flat)
    if a.ndim == 0 or (a.dtype == object and not strings):
        raise ValueError(
            f"{argument} must be an array, or a list or dict of arrays of numbers or "
            f"strings{of}; of a data set take some rows, as next(iter(data)) does. "
            f"Received: {argument}={_short(x)}"
        )
    return a


def as_dtype(a: np.ndarray, dtype: str, argument: str, name: str) -> np.ndarray:
    """The array with this dtype; floats are rounded, integers stay what they are.

    Raises:
        ValueError: if the dtype cannot hold a number.
    """
    if (dtype == STRING) != (a.dtype == object):
        kinds = ("strings", "numbers") if dtype == STRING else ("numbers", "strings")
        raise ValueError(
            f"{argument} must hold {kinds[0]} for the input {name!r}. "
            f"Received: {kinds[1]}"
        )
    if dtype == STRING or str(a.dtype) == dtype:
        return a
    with np.errstate(all="ignore"):
        cast = a.astype(dtype)
        if _is_float(a) and _is_float(cast):
            wrong = np.isfinite(a) & ~np.isfinite(cast)
        else:
            wrong = cast.astype(a.dtype) != a
    if wrong.any():
        raise ValueError(
            f"{argument} must hold numbers that {dtype} can hold for the input "
            f"{name!r}. Received: {a.dtype} with {a[wrong].flat[0]}, which would "
            f"become {cast[wrong].flat[0]}"
        )
    return cast


def _is_float(a: np.ndarray) -> bool:
    # The kind of bfloat16 is "V".
    return a.dtype.kind in "fV"


def _short(x: Any) -> str:
    text = " ".join(repr(x).split())
    return text if len(text) <= 80 else f"{text[:80]}..."
