"""What the zoo knows of a model: how it is made, its data, and what it can do."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Data:
    """What a user hands to `fit`, `evaluate` and `predict`."""

    x: Any
    y: Any = None
    sample_weight: Any = None
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Further arguments of `fit`."""
    evaluate: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Further arguments of `evaluate` and `predict`."""

    @property
    def inputs(self) -> Any:
        """What `predict` takes: `x`, or the dataset without its targets."""
        if isinstance(self.x, tf.data.Dataset):
            # A tuple of one, for `predict` takes the second of a pair for targets.
            return self.x.map(lambda x, *_: (x,))
        return self.x

    @property
    def training(self) -> dict[str, Any]:
        """Keyword arguments of `fit`, without its number of epochs."""
        return self._with_targets() | self.fit

    @property
    def evaluation(self) -> dict[str, Any]:
        """Keyword arguments of `evaluate`."""
        return self._with_targets() | self.evaluate

    def _with_targets(self) -> dict[str, Any]:
        given = {"x": self.x, "y": self.y, "sample_weight": self.sample_weight}
        return {name: value for name, value in given.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class ZooModel:
    """A model as people build it, with its data."""

    name: str
    family: str
    """Name of the module that has it."""
    about: str
    make: Callable[[], keras.Model]
    """Builds and compiles the model, from a fixed seed."""
    data: Callable[[], Data]
    """Makes the same data at each call; a generator starts over."""
    trains: bool = True
    """Whether `fit` takes it."""
    evaluates: bool = True
    """Whether `evaluate` takes it."""
    predicts: bool = True
    """Whether `predict` takes the inputs."""
    random_at_inference: bool = False
    """Whether two calls of `predict` differ."""
    note: str = ""

    def __str__(self) -> str:
        return self.name


ZOO: dict[str, ZooModel] = {}


def zoo_model(
    data: Callable[[], Data], **can: Any
) -> Callable[[Callable[[], keras.Model]], Callable[[], keras.Model]]:
    """Enters a function that returns a compiled model under the function's name."""

    def enter(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        def make() -> keras.Model:
            keras.utils.set_random_seed(0)
            return build()

        name = build.__name__
        about = (build.__doc__ or "").strip().splitlines()[0]
        assert name not in ZOO, f"two models are called {name}"
        family = build.__module__.rpartition(".")[2]
        ZOO[name] = ZooModel(name, family, about, make, data, **can)
        return build

    return enter
