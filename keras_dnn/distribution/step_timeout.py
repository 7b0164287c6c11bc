"""An end to waiting for a worker that is there but does nothing."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from typing import Any

import keras

from keras_dnn import _arguments

EXIT_STATUS = 75
"""That of a failure which may pass: start again."""


class StepTimeout(keras.callbacks.Callback):
    """Ends the process when training has not moved for too long.

    A worker that dies is noticed by the others within seconds. One that lives but
    hangs, on a disk or in its own code, would keep them waiting for ever, inside
    TensorFlow, where no exception can reach. So the process prints where it stood and
    ends with status 75, at which a supervisor should start all workers again.

    Every batch counts as a move, of training, validation and prediction alike, and so
    do the beginning and the end of an epoch. Not what other callbacks do between them,
    nor the first step's tracing: leave room for the longest checkpoint.

    Args:
        seconds: how long to wait.

    Raises:
        ValueError: if `seconds` is not above 0.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.distribution import StepTimeout
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(
        ...     np.ones((8, 3)),
        ...     np.ones((8, 1)),
        ...     verbose=0,
        ...     callbacks=[StepTimeout(600)],
        ... )
    """

    def __init__(self, seconds: float = 600.0) -> None:
        super().__init__()
        self.seconds = _arguments.number("seconds", seconds, bounds="()")
        self._watch: _Watch | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins to watch."""
        self.on_train_end()
        self._watch = _Watch(self.model, self.seconds)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.over = True
            self._watch.moved.set()
            self._watch = None

    def _on_move(self, index: int, logs: dict[str, Any] | None = None) -> None:
        if self._watch is not None:
            self._watch.moved.set()

    on_epoch_begin = on_epoch_end = _on_move
    on_train_batch_begin = on_train_batch_end = _on_move
    on_test_batch_end = on_predict_batch_end = _on_move


class _Watch:
    """A thread that ends the process if it is not told of a move for too long."""

    def __init__(self, model: keras.Model, seconds: float) -> None:
        self.model = model
        self.seconds = seconds
        self.moved = threading.Event()
        self.over = False
        self._watched = threading.get_ident()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self.moved.wait(self.seconds):
            self.moved.clear()
            if self.over:
                return
        # An exception in `fit` skips `on_train_end`: then there is nothing to end.
        if self._in_fit():
            print(  # noqa: T201
                f"No step has ended for {self.seconds:g} seconds. This worker waits "
                "for another one, or hangs; here is where it is. Start all workers "
                "again.",
                file=sys.stderr,
                flush=True,
            )
            faulthandler.dump_traceback(all_threads=True)
            os._exit(EXIT_STATUS)

    def _in_fit(self) -> bool:
        frame = sys._current_frames().get(self._watched)
        while frame is not None:
            if frame.f_code.co_name == "fit" and frame.f_locals["self"] is self.model:
                return True
            frame = frame.f_back
        return False
