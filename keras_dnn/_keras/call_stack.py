"""The `fit` that is calling."""

from __future__ import annotations

import sys
from types import FrameType

import keras


def callback_list() -> keras.callbacks.CallbackList | None:
    """The list through which `fit` calls, to be asked for inside `on_train_begin`.

    It knows a callback's siblings and lives no longer than `fit` does, neither of which
    Keras tells a callback.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(8):
        if frame is None:
            break
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return caller
        frame = frame.f_back
    return None
