"""Attributes and methods that have another value for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

MISSING = object()


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Gives an object, class or module another attribute and restores it at the end.

    An object's own attribute shadows a method of its class, for this object alone. It
    is not set by `setattr`, which would have Keras track the value as part of a layer.

    Args:
        owner: the object, class or module.
        name: of the attribute.
        value: what it is in the meantime.
    """
    before = vars(owner).get(name, MISSING)
    _set(owner, name, value)
    try:
        yield
    finally:
        _set(owner, name, before)


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, type):
        delattr(owner, name) if value is MISSING else setattr(owner, name, value)
    elif value is MISSING:
        del vars(owner)[name]
    else:
        vars(owner)[name] = value
