"""Refuses a callback that is in the list of callbacks twice."""

from __future__ import annotations

import keras

from keras_dnn._keras import call_stack


def require_once(callback: keras.callbacks.Callback) -> None:
    """Raises an error if `fit` was given the callback twice; call it from there.

    It would see, count and change everything twice.
    """
    siblings = getattr(call_stack.callback_list(), "callbacks", [])
    times = sum(sibling is callback for sibling in siblings)
    if times > 1:
        name = type(callback).__name__
        raise ValueError(
            f"callbacks must hold each callback once; create another {name} for a "
            f"second one. Received: the same {name} {times} times"
        )
