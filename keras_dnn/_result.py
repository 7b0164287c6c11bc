"""Results of functions: numbers as attributes, a text and a plot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sized
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Result:
    """Base class of the frozen dataclasses that functions return.

    A result with a text of its own shows that text at the prompt and in a notebook too,
    rather than all its arrays.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__str__ is not object.__str__:
            _show_text(cls)

    def to_dict(self) -> dict[str, Any]:
        """Returns the result as plain numbers, lists and strings, ready for JSON.

        Returns:
            A dict with an entry for each attribute that is not a model, layer or
            function.
        """
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            name: _plain(value)
            for name, value in found.items()
            if not isinstance(value, keras.layers.Layer) and not callable(value)
        }


def _show_text(kind: Any) -> None:
    # Set before the decorator of a dataclass runs, which then leaves it alone.
    kind.__repr__ = kind.__str__


def require_recorded(values: Sized) -> None:
    """Raises an error if a callback has recorded nothing that it could plot.

    Raises:
        ValueError: if there are no values.
    """
    if not len(values):
        raise ValueError("There is nothing to plot before the first fit.")


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
