"""Advice, added to TensorFlow's error, on what to do when a worker is lost."""

from __future__ import annotations

import sys
from types import TracebackType

from keras_dnn._tensorflow import tf

NOTE = (
    "Another worker has ended or cannot be reached, and this one cannot continue "
    "without it. Start all workers again: with save_on_chief(BackupAndRestore(...)) "
    "among the callbacks, training continues from the last backup. If the other worker "
    "ended with an error, its output shows it."
)


def add_advice() -> None:
    """Adds a note to errors that a lost worker causes, when they end this program."""
    if getattr(sys.excepthook, "module", None) == __name__:
        return
    show = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _errors()):
            error.add_note(f"\n{NOTE}")
        show(kind, error, trace)

    hook.module = __name__  # type: ignore[attr-defined]
    sys.excepthook = hook


def _errors() -> tuple[type[Exception], ...]:
    errors = tf.errors
    return errors.UnavailableError, errors.AbortedError, errors.InternalError
