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

__all__ = ["require_tensorflow", "tf"]


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
