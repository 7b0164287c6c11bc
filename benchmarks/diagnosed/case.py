"""How a network is made and trained, and which disease it has."""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_dnn.diagnostics import registered_checks


@dataclasses.dataclass
class Task:
    """A compiled model, its data, and how it is trained."""

    model: keras.Model
    x: Any
    y: Any = None
    sample_weight: Any = None
    validation: Any = None
    epochs: int = 5
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Further arguments of `fit`."""


def task(model: keras.Model, x: Any, y: Any, epochs: int = 5, **fit: Any) -> Task:
    """Keeps the last fifth of the rows for validation."""
    rows = len(keras.tree.flatten(x)[0])
    train = rows - rows // 5
    first, last = (
        keras.tree.map_structure(lambda a, part=part: a[part], (x, y))
        for part in (slice(train), slice(train, None))
    )
    return Task(model, *first, validation=last, epochs=epochs, fit=fit)


@dataclasses.dataclass(frozen=True)
class Case:
    """A function that makes a `Task`, with what should be said of it."""

    name: str
    group: str
    """A family of healthy networks, or a disease."""
    answers: frozenset[str]
    """Names of findings that are right; empty if the network is healthy."""
    by: str
    """`"preflight"` or `"Doctor"`, who should see the disease."""
    make: Callable[[np.random.Generator], Task]
    about: str

    def __call__(self, draw: int = 0) -> Task:
        """Makes the network and its data, the same at each call of the same draw."""
        seed = zlib.crc32(self.name.encode()) + draw
        keras.utils.set_random_seed(seed)
        return self.make(np.random.default_rng(seed))


DRAW = 19
"""The seed of the draw of halves."""
HALVES = ("development", "unseen")


def half(name: str) -> str:
    """The half into which a network was drawn; another network does not change it."""
    return HALVES[zlib.crc32(f"{DRAW} {name}".encode()) % 2]


def linked(name: str) -> str:
    """A disease with a link to its section of the guide, if it is a check's name."""
    checks = [*registered_checks("before"), *registered_checks("during")]
    return f"[{name}](#{name})" if name in [check.name for check in checks] else name


CASES: dict[str, Case] = {}


def healthy(family: str) -> Callable[[Any], Any]:
    """Enters a function as a healthy network of this family."""
    return _enter(family, frozenset(), "both")


def sick(disease: str, *also: str, by: str = "preflight") -> Callable[[Any], Any]:
    """Enters a function as a network with a disease, the name of its finding.

    Args:
        disease: the finding that names it.
        also: other findings that say the same.
        by: who should see it.
    """
    return _enter(disease, frozenset({disease, *also}), by)


def _enter(group: str, answers: frozenset[str], by: str) -> Callable[[Any], Any]:
    def enter(make: Callable[[np.random.Generator], Task]) -> Any:
        name = make.__name__
        assert name not in CASES, f"two networks are called {name}"
        about = (make.__doc__ or "").strip().splitlines()[0]
        CASES[name] = Case(name, group, answers, by, make, about)
        return make

    return enter
