"""What to do when another worker is gone, said where TensorFlow says what it saw."""

from __future__ import annotations

import sys
from types import TracebackType

from keras_dnn._tensorflow import tf

NOTE = (
    "Another worker has ended or cannot be reached, and this one cannot go on without "
    "it. Start all workers again: with save_on_chief(BackupAndRestore(...)) among the "
    "callbacks, training goes on from the last backup. If it ended with an error of "
    "its own, that worker's output has it."
)


def explain() -> None:
    """Adds a note to the error with which a lost worker ends this program."""
    if getattr(sys.excepthook, "of", None) == __name__:
        return
    show = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _signs()):
            error.add_note(f"\n{NOTE}")
        show(kind, error, trace)

    hook.of = __name__  # type: ignore[attr-defined]
    sys.excepthook = hook


def _signs() -> tuple[type[Exception], ...]:
    errors = tf.errors
    return errors.UnavailableError, errors.AbortedError, errors.InternalError
