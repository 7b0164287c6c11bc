"""Training mode with dropout and noise switched off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from keras_dnn.layers._stochastic import stochastic, switched_off


@contextlib.contextmanager
def without_noise(model: keras.Model) -> Iterator[None]:
    """Switches off dropout and noise, and on again at the end.

    Also the noise of layers of the user's own that draw from a
    `keras.random.SeedGenerator` and have a `training` argument.
    """
    with switched_off(stochastic(model)):
        yield
