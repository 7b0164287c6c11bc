"""Progress bars of functions that may take long."""

from __future__ import annotations

import time
from typing import Any, Literal, TypeAlias, TypeVar

import keras

T = TypeVar("T")

Verbose: TypeAlias = Literal[0, 1, "auto"]
"""0 shows nothing, 1 a progress bar, "auto" a bar when it takes long."""

PATIENCE = 2.0
"""Seconds after which "auto" shows a bar."""


class Progress:
    """A progress bar.

    Args:
        verbose: as in `Verbose`.
    """

    def __init__(self, verbose: Verbose) -> None:
        self.verbose = verbose
        self.started = time.monotonic()
        self.done = 0
        self.shown = False
        self.bar: Any = None

    def after(self, result: T, total: int | None) -> T:
        """Counts one more piece of work as done and returns its result."""
        self.reach(self.done + 1, total)
        return result

    def reach(self, done: int, total: int | None) -> None:
        """Shows how many pieces of work are done."""
        self.done = done
        if self.bar is None and self.verbose:
            self.bar = keras.utils.Progbar(total)
        late = time.monotonic() - self.started > PATIENCE
        self.shown = (
            self.shown or self.verbose != "auto" or (late and self.done != total)
        )
        if self.bar is not None and self.shown:
            self.bar.update(self.done)

    def stop(self) -> None:
        """Ends the bar's line when work stops early."""
        if self.shown and self.bar is not None and self.done < self.bar.target:
            self.bar.update(self.done, finalize=True)
