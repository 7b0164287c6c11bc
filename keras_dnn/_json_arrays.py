"""Arrays as text, small enough to keep in JSON."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np


def to_json(array: np.ndarray) -> dict[str, Any]:
    """The array as a dict of text and numbers: booleans as bits, others as float32.

    Digits would take time and place: an array may hold a number for each step.
    """
    shape = list(array.shape)
    if array.dtype == bool:
        return {
            "shape": shape,
            "bits": _text(zlib.compress(np.packbits(array).tobytes())),
        }
    return {"shape": shape, "float32": _text(array.astype("<f4").tobytes())}


def from_json(stored: dict[str, Any]) -> np.ndarray:
    """The array that `to_json` was given; numbers as float64, to single precision."""
    shape = tuple(stored["shape"])
    if "float32" in stored:
        numbers = np.frombuffer(base64.b64decode(stored["float32"]), "<f4")
        return numbers.reshape(shape).astype("float64")
    packed = np.frombuffer(zlib.decompress(base64.b64decode(stored["bits"])), "uint8")
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
