"""Training mode without what is random in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.patched import patched
from keras_dnn.layers._stochastic import noise, rates


@contextlib.contextmanager
def without_noise(model: keras.Model) -> Iterator[None]:
    """A model whose dropout and noise are off, for a while."""
    with contextlib.ExitStack() as stack:
        for layer in sublayers(model):
            if not (rates(layer) or noise(layer)):
                continue
            for name in ("rate", "dropout", "recurrent_dropout", "stddev"):
                if vars(layer).get(name):
                    stack.enter_context(patched(layer, name, 0.0))
        yield
