"""An initializer that draws, each time something else unless it has a seed."""

from __future__ import annotations

import itertools
import numbers
import random
from collections.abc import Iterator
from typing import Any, TypeAlias

import keras

Seed: TypeAlias = int | keras.random.SeedGenerator | None


class Seeded(keras.Initializer):
    """Base class of the initializers that draw.

    Args:
        seed: an integer gives the same draw each time, a `keras.random.SeedGenerator`
            or `None` another one each time. Without one, `keras.utils.set_random_seed`
            decides.
    """

    def __init__(self, seed: Seed = None) -> None:
        if isinstance(seed, dict):
            seed = keras.saving.deserialize_keras_object(seed)
        self.seed = checked(seed)

    def _next_seed(self) -> Any:
        """What the next draw is made with."""
        return self.seed if isinstance(self.seed, int) else next(seeds(self.seed))

    def get_config(self) -> dict[str, Any]:
        """The arguments that create this initializer anew."""
        return {"seed": keras.saving.serialize_keras_object(self.seed)}


def checked(seed: Any) -> Seed:
    """The seed, if it is one."""
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    if isinstance(seed, numbers.Integral) and not isinstance(seed, bool):
        return int(seed)
    raise ValueError(
        "seed must be an integer, a keras.random.SeedGenerator or None. "
        f"Received: seed={seed!r}"
    )


def seeds(seed: Seed) -> Iterator[Any]:
    """Seeds for many draws, all decided by one."""
    if isinstance(seed, keras.random.SeedGenerator):
        return itertools.repeat(seed)
    # Without a seed Python's generator decides, as in Keras's own layers: it has no
    # variable that a trace on another backend could catch.
    draw = (random if seed is None else random.Random(seed)).randrange
    return (draw(2**31) for _ in itertools.count())
