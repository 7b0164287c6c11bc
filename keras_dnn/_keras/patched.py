"""Attributes that an object has for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def attribute(layer: Any, name: str, value: Any) -> Iterator[None]:
    """Gives a layer an attribute and takes it away at the end.

    Not by `setattr`, which would have Keras track the value as a part of the layer.
    """
    held = vars(layer)
    before = held.get(name)
    held[name] = value
    try:
        yield
    finally:
        if before is None:
            del held[name]
        else:
            held[name] = before
