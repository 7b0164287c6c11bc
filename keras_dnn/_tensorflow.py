"""TensorFlow, imported only where Keras runs on it.

On Keras's other backends the rest of the library works without it; what needs
TensorFlow says so when it is used.
"""

import importlib
from typing import Any

import keras

tf: Any = None
if keras.backend.backend() == "tensorflow":
    tf = importlib.import_module("tensorflow")

__all__ = ["refuse_backend", "require_tensorflow", "tf"]


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
