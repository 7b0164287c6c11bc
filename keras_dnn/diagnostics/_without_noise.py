"""Training mode with dropout and noise switched off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.patched import patched
from keras_dnn.layers._stochastic import noise, rates

AMOUNTS = ("rate", "dropout", "recurrent_dropout", "stddev")
"""The attributes in which Keras's layers keep how much they drop or add."""


@contextlib.contextmanager
def without_noise(model: keras.Model) -> Iterator[None]:
    """Switches off dropout and noise, and on again at the end."""
    with contextlib.ExitStack() as stack:
        for layer in sublayers(model):
            if not (rates(layer) or noise(layer)):
                continue
            for name in AMOUNTS:
                if vars(layer).get(name):
                    stack.enter_context(patched(layer, name, 0.0))
        yield
