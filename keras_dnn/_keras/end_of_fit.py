"""What must happen when `fit` is left, however that happens.

Keras calls no callback when an exception or Ctrl-C ends `fit`, and a notebook keeps the
frames of the interrupted `fit` in `sys.last_traceback`, so that nothing is collected.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_dnn._interrupts import interrupts_held


class _Fit(NamedTuple):
    """A `fit` that is running, and what to do when it ends, the last entry first."""

    model: Any
    undo: list[Callable[[], None]]


class _Running(threading.local):
    """Those of this thread, the innermost last."""

    def __init__(self) -> None:
        self.fits: list[_Fit] = []


_running = _Running()


def when_fit_ends(model: keras.Model, undo: Callable[[], None]) -> bool:
    """Calls a function when the running `fit` of a model is left.

    Args:
        model: the model.
        undo: what to call; a second call must do no harm, for Ctrl-C may cause one.

    Returns:
        Whether such a `fit` is running; callbacks may be called by a loop of one's own.
    """
    for fit in reversed(_running.fits):
        if fit.model is model:
            fit.undo.append(undo)
            return True
    return False


def _end(fit: _Fit) -> None:
    failure: BaseException | None = None
    while True:
        try:
            with interrupts_held():
                while fit.undo:
                    try:
                        fit.undo[-1]()
                    except Exception as error:
                        failure = failure or error
                    fit.undo.pop()
                if fit in _running.fits:
                    _running.fits.remove(fit)
            break
        except KeyboardInterrupt as interrupt:
            failure = interrupt
    if failure is not None:
        raise failure


def _watched(fit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fit)
    def watched_fit(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        running = _Fit(self, [])
        _running.fits.append(running)
        try:
            return fit(self, *args, **kwargs)
        finally:
            _end(running)

    return watched_fit


# On import: in `model.fit(x, callbacks=[MaxNorm(1)])` Python looks `fit` up before it
# creates the callback, which would be too late.
setattr(keras.Model, "fit", _watched(keras.Model.fit))  # noqa: B010
