"""TensorFlow, imported only where Keras runs on it.

On Keras's other backends the rest of the library works without it; what needs
TensorFlow says so when it is used.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

tf: Any = None
if keras.backend.backend() == "tensorflow":
    tf = importlib.import_module("tensorflow")

__all__ = ["outside_traced_function", "refuse_backend", "require_tensorflow", "tf"]


@contextmanager
def outside_traced_function() -> Iterator[None]:
    """Creates variables as if the `tf.function` that is being traced were not there.

    They have values at once. The function would be traced a second time if it created
    them itself, which doubles the time that `fit` takes to start.
    """

    def create(create_next: Any, **arguments: Any) -> Any:
        arguments["experimental_enable_variable_lifting"] = False
        return create_next(**arguments)

    replica = tf.distribute.get_replica_context()
    if replica is not None and replica.num_replicas_in_sync > 1:
        # Replicas, each in a thread of its own, create a variable together.
        yield
    else:
        with tf.init_scope(), tf.variable_creator_scope(create):
            yield


def require_tensorflow(name: str) -> None:
    """Raises if Keras does not run on TensorFlow.

    Args:
        name: the public name that is being used, for the message.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"{name} works on Keras's TensorFlow backend only. Set the environment "
            "variable KERAS_BACKEND=tensorflow before keras is imported. "
            f"Received: backend={backend!r}"
        )


def refuse_backend(refused: str, name: str, reason: str) -> None:
    """Raises if Keras runs on a backend on which a name cannot work.

    Args:
        refused: the backend.
        name: the public name, or what of it does not work there, for the message.
        reason: what that backend lacks.
    """
    backend = keras.backend.backend()
    if backend == refused:
        raise RuntimeError(
            f"{name} does not work on Keras's {backend} backend, {reason}. Set the "
            "environment variable KERAS_BACKEND=tensorflow before keras is imported. "
            f"Received: backend={backend!r}"
        )
