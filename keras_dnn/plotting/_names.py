"""Paths of layers and variables, short enough for an axis."""

from __future__ import annotations

from collections.abc import Sequence


def without_model(names: Sequence[str], parts: int = 3) -> list[str]:
    """The paths without their first part, if that is the model's name in all of them.

    Args:
        names: the paths.
        parts: how many parts a path has at least if it begins with the model's name:
            three for variables, two for layers.
    """
    first = {name.partition("/")[0] for name in names}
    if len(first) > 1 or not all(name.count("/") + 1 >= parts for name in names):
        return list(names)
    return [name.partition("/")[2] for name in names]
