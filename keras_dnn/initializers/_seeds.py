"""Seeds of initializers: different numbers at each use, or the same with a seed."""

from __future__ import annotations

import itertools
import numbers
import random
from collections.abc import Iterator
from typing import Any, TypeAlias

import keras

Seed: TypeAlias = int | keras.random.SeedGenerator | None


class RandomInitializer(keras.Initializer):
    """Base class of the initializers that draw random numbers.

    Args:
        seed: with an integer each use draws the same numbers, with a
            `keras.random.SeedGenerator` or `None` different ones. `None` depends on
            `keras.utils.set_random_seed`.
    """

    def __init__(self, seed: Seed = None) -> None:
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        self.seed = checked_seed(seed)

    def _next_seed(self) -> Any:
        """The seed of the next draw."""
        return self.seed if isinstance(self.seed, int) else next(seeds(self.seed))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that create this initializer."""
        return {"seed": keras.saving.serialize_keras_object(self.seed)}


def checked_seed(seed: Any) -> Seed:
    """Returns the seed, which must be valid."""
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        return int(seed)
    raise ValueError(
        "seed must be an integer, a keras.random.SeedGenerator or None. "
        f"Received: seed={seed!r}"
    )


def seeds(seed: Seed) -> Iterator[Any]:
    """Returns seeds for any number of draws, derived from one."""
    if isinstance(seed, keras.random.SeedGenerator):
        return itertools.repeat(seed)
    # Without a seed they come from Python's generator, as in Keras's own layers: it has
    # no variable that tracing on another backend could capture.
    draw = (random if seed is None else random.Random(seed)).randrange
    return (draw(2**31) for _ in itertools.count())
