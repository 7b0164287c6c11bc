"""Long work shows how far it is."""

from __future__ import annotations

import time
from typing import Any

import keras


class Progress:
    """A progress bar; with "auto" one that appears after two seconds.

    Args:
        verbose: 0 shows nothing, 1 a bar, "auto" a bar when it takes long.
    """

    def __init__(self, verbose: int | str) -> None:
        self.verbose = verbose
        self.started = time.monotonic()
        self.done = 0
        self.shown = False
        self.bar: Any = None

    def after(self, result: Any, total: int | None) -> Any:
        """Counts one piece of work and passes on what it gave."""
        self.reach(self.done + 1, total)
        return result

    def reach(self, done: int, total: int | None) -> None:
        """Shows that so much work is done."""
        self.done = done
        if self.bar is None and self.verbose:
            self.bar = keras.utils.Progbar(total)
        late = time.monotonic() - self.started > 2.0
        self.shown = (
            self.shown or self.verbose != "auto" or (late and self.done != total)
        )
        if self.bar is not None and self.shown:
            self.bar.update(self.done)

    def stop(self) -> None:
        """Ends the bar's line where work ends early."""
        if self.shown and self.bar is not None and self.done < self.bar.target:
            self.bar.update(self.done, finalize=True)
