"""What is drawn at random stays what it would have been."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from keras_dnn._graph import forget_global_seed, global_seed
from keras_dnn.models._state import restored


@contextmanager
def same_randomness() -> Iterator[None]:
    """Puts the random states of Keras, NumPy and Python back at the end."""
    generator = global_seed()
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with restored(generator):
            yield
    finally:
        if not generator:
            forget_global_seed()
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
