"""The arrays of a record, as attributes."""

from __future__ import annotations

from typing import Any


class Column:
    """An array of a record, brought up to date when it is read.

    The owner gives it by `_read(name)`.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, recorder: Any, owner: type | None = None) -> Any:
        return self if recorder is None else recorder._read(self.name)
