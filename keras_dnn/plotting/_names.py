"""Paths of layers and variables, short enough for an axis."""

from __future__ import annotations

from collections.abc import Sequence


def without_model(names: Sequence[str]) -> list[str]:
    """The paths without their first part, where that is the model's in all of them."""
    first = {name.partition("/")[0] for name in names}
    if len(first) > 1 or not all(name.count("/") > 1 for name in names):
        return list(names)
    return [name.partition("/")[2] for name in names]
