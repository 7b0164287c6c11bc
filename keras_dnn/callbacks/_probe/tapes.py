"""Which losses a training step differentiates, by whatever route it computes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keras_dnn._tensorflow import tf

Receive = Callable[[Any, list[Any]], None]
"""Takes what is differentiated and the variables by which."""


class _Patch:
    """The replacement of `tf.GradientTape.gradient`, while any thread needs it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.listening = threading.local()

    def begin(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.original = original = tf.GradientTape.gradient
                listening = self.listening

                def gradient(
                    tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any
                ) -> Any:
                    receive: Receive | None = getattr(listening, "receive", None)
                    # Backward passes and hooks may hold tapes of their own.
                    listening.receive = None
                    try:
                        variables = _variables(sources)
                        if receive is not None and variables:
                            receive(target, variables)
                        return original(tape, target, sources, *args, **kwargs)
                    finally:
                        listening.receive = receive

                tf.GradientTape.gradient = gradient

    def end(self) -> None:
        with self.lock:
            self.users -= 1
            if not self.users:
                tf.GradientTape.gradient = self.original


_PATCH = _Patch()


@contextmanager
def differentiated(receive: Receive) -> Iterator[None]:
    """Calls `receive` for each gradient by variables that this thread asks a tape for.

    A gradient by a tensor, such as that of a gradient penalty, is no loss's.
    """
    _PATCH.begin()
    before = getattr(_PATCH.listening, "receive", None)
    _PATCH.listening.receive = receive
    try:
        yield
    finally:
        _PATCH.listening.receive = before
        _PATCH.end()


def _variables(sources: Any) -> list[Any]:
    return [v for v in tf.nest.flatten(sources) if hasattr(v, "assign")]
