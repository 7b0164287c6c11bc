"""Who is calling, where Keras does not say: found on the Python stack."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

import keras


class MethodCall(NamedTuple):
    """A method that is running: its object, its name and its local variables."""

    owner: Any
    method: str
    variables: dict[str, Any]


CALL_CONTEXT = "current_call_ctx"


@contextlib.contextmanager
def same_call_context() -> Iterator[None]:
    """Keeps what is said to layers here, `training` above all, from those after them.

    Keras passes the argument of a layer on to all that the same model calls later
    without one, not only to the layers inside it.
    """
    state = keras.src.backend.common.global_state
    context = state.get_global_attribute(CALL_CONTEXT)
    before = {} if context is None else dict(vars(context))
    try:
        yield
    finally:
        if context is not None:
            vars(context).clear()
            vars(context).update(before)


def callback_list() -> keras.callbacks.CallbackList | None:
    """The list through which `fit` calls its callbacks; call it from one of them.

    It knows a callback's siblings and lives no longer than `fit` does, neither of which
    Keras tells a callback.
    """
    for call in _running(sys._getframe(1)):
        if isinstance(call.owner, keras.callbacks.CallbackList):
            return call.owner
        if isinstance(call.owner, keras.Model):
            return None
    return None


def calling_model(compiled: bool = False) -> MethodCall | None:
    """The nearest running method of a Keras model, if there is one.

    Args:
        compiled: whether to pass over models that are not compiled.
    """
    for call in _running(sys._getframe(1)):
        if isinstance(call.owner, keras.Model) and (
            not compiled or getattr(call.owner, "compiled", False)
        ):
            return call
    return None


def calling_layer() -> keras.layers.Layer | None:
    """The innermost layer that is being called, if there is one."""
    for call in _running(sys._getframe(1)):
        if call.method == "call" and isinstance(call.owner, keras.layers.Layer):
            return call.owner
    return None


def building_layer() -> keras.layers.Layer | None:
    """The innermost layer that is being built, if there is one."""
    for call in _running(sys._getframe(1)):
        if call.method == "build" and isinstance(call.owner, keras.layers.Layer):
            return call.owner
    return None


def is_running(owner: Any, method: str, thread: int) -> bool:
    """Whether a thread is inside this method of this object.

    Args:
        owner: the object.
        method: name of its method.
        thread: identifier of the thread, as `threading.get_ident` gives it.
    """
    return any(
        call.owner is owner and call.method == method
        for call in _running(sys._current_frames().get(thread))
    )


def _running(frame: FrameType | None) -> Iterator[MethodCall]:
    """The methods on the stack, the innermost first."""
    while frame is not None:
        variables = frame.f_locals
        if "self" in variables:
            yield MethodCall(variables["self"], frame.f_code.co_name, variables)
        frame = frame.f_back
