"""Ends a worker that waits too long for a step."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from keras_dnn import _arguments
from keras_dnn._keras.call_stack import is_running

EXIT_STATUS = 75
"""The usual status of a temporary failure: start again."""


_Hook: TypeAlias = Callable[..., None]


class StepTimeout(keras.callbacks.Callback):
    """Ends the process when training makes no progress for too long.

    The other workers notice within seconds when a worker ends. One that hangs, on a
    disk or in its own code, would keep them waiting forever inside TensorFlow, where no
    exception can interrupt them. So the process prints its stack and ends with status
    75, on which a supervisor should start all workers again.

    Progress is a batch of training, validation or prediction, or the beginning or end
    of an epoch. The work of other callbacks and the tracing of the first step are not:
    allow time for the longest checkpoint.

    Args:
        seconds: seconds to wait.

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
        self.seconds: float = _arguments.number("seconds", seconds, bounds="()")
        self._watch: _Watch | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the watch."""
        self.on_train_end()
        self._watch = _Watch(self.model, self.seconds)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.over = True
            self._watch.progress.set()
            self._watch = None

    def _on_progress(self, index: int, logs: dict[str, Any] | None = None) -> None:
        if self._watch is not None:
            self._watch.progress.set()

    on_epoch_begin: _Hook = _on_progress
    on_epoch_end: _Hook = _on_progress
    on_train_batch_begin: _Hook = _on_progress
    on_train_batch_end: _Hook = _on_progress
    on_test_batch_end: _Hook = _on_progress
    on_predict_batch_end: _Hook = _on_progress


class _Watch:
    """A thread that ends the process if no progress is reported for too long."""

    def __init__(self, model: keras.Model, seconds: float) -> None:
        self.model = model
        self.seconds = seconds
        self.progress = threading.Event()
        self.over = False
        self._watched = threading.get_ident()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self.progress.wait(self.seconds):
            self.progress.clear()
            if self.over:
                return
        # An exception in `fit` skips `on_train_end`; then nothing needs to be ended.
        if is_running(self.model, "fit", self._watched):
            print(  # noqa: T201
                f"No step has ended for {self.seconds:g} seconds. This worker waits "
                "for another one, or hangs; its stack follows. Start all workers "
                "again.",
                file=sys.stderr,
                flush=True,
            )
            faulthandler.dump_traceback(all_threads=True)
            os._exit(EXIT_STATUS)
