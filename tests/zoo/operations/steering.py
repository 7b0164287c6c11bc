"""Callbacks that steer `fit`, and what they put back."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn import callbacks
from tests.zoo.battery import operation, quiet
from tests.zoo.subject import EPOCHS, Subject, layers_in, optimizers_of

GROUP = "steering"
RADIUS = 0.5

STEERING = {
    "callbacks.OneCycleScheduler": lambda: callbacks.OneCycleScheduler(
        0.01, momentum=None
    ),
    "callbacks.MaxNorm": lambda: callbacks.MaxNorm(RADIUS),
    "callbacks.GradualUnfreezing": lambda: callbacks.GradualUnfreezing(
        {0: 1, EPOCHS - 1: "all"}
    ),
}


class FirstEpoch(keras.callbacks.Callback):
    """Keeps what is frozen in the first epoch, and the weights around it."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 0:
            self.before = {v.path: v.numpy() for v in self.model.variables}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 0:
            self.frozen = {v.path for v in self.model.non_trainable_variables}
            self.after = {v.path: v.numpy() for v in self.model.variables}


class Trained:
    """A model after `fit` with callbacks, and what it was before."""

    def __init__(self, subject: Subject, names: list[str]) -> None:
        # Its optimizer is built in `fit`, of all layers that will be unfrozen.
        self.model = subject.fresh()
        self.weights = {v.path: v.numpy() for v in self.model.variables}
        self.constraints = constraints_of(self.model)
        self.rate = rates_of(self.model)
        self.iterations = int(optimizers_of(self.model)[0].iterations)
        self.callbacks = {name: STEERING[name]() for name in names}
        self.epoch = FirstEpoch()
        self.history = subject.fit(self.model, [*self.callbacks.values(), self.epoch])


def steered(subject: Subject, name: str) -> Trained:
    """One `fit` with all callbacks that should work, or one with this callback."""
    names = [each for each in STEERING if quiet(each, subject)]
    found = None
    if name in names:
        found = subject.once("steered", lambda: attempt(subject, names))
    return found or Trained(subject, [name])


def attempt(subject: Subject, names: list[str]) -> Trained | None:
    try:
        return Trained(subject, names)
    except Exception:
        return None  # Each by itself will say why.


def rates_of(model: keras.Model) -> list[float]:
    return [float(o.learning_rate) for o in optimizers_of(model)]


def constraints_of(model: keras.Model) -> list[Any]:
    return [
        value
        for layer in layers_in(model)
        for name, value in sorted(vars(layer).items())
        if name.endswith("constraint")
    ] + [v.constraint for v in model.weights if isinstance(v, keras.Variable)]


@operation(GROUP, "callbacks.OneCycleScheduler", needs=["trains"])
def one_cycle(subject: Subject) -> None:
    found = steered(subject, "callbacks.OneCycleScheduler")
    cycle = found.callbacks["callbacks.OneCycleScheduler"]
    assert cycle.coverage == 1.0
    updates = int(optimizers_of(found.model)[0].iterations) - found.iterations
    assert cycle.schedule.total_steps == updates
    np.testing.assert_array_equal(rates_of(found.model), found.rate)
    assert moved(found)


@operation(GROUP, "callbacks.MaxNorm", needs=["trains"])
def max_norm(subject: Subject) -> None:
    found = steered(subject, "callbacks.MaxNorm")
    after = constraints_of(found.model)
    assert all(a is b for a, b in zip(found.constraints, after, strict=True))
    for layer in layers_in(found.model):
        dense = type(layer) is keras.layers.Dense and layer.quantization_mode is None
        # A frozen kernel stays as it is.
        if dense and layer.kernel.trainable:
            lengths = np.linalg.norm(layer.kernel.numpy().astype("float64"), axis=0)
            assert (lengths <= RADIUS * 1.01).all(), layer.path


def moved(found: Trained) -> bool:
    return any(
        not np.array_equal(v.numpy(), found.weights.get(v.path, np.nan))
        for v in found.model.trainable_variables
    )


@operation(GROUP, "callbacks.GradualUnfreezing", needs=["trains"])
def gradual_unfreezing(subject: Subject) -> None:
    found = steered(subject, "callbacks.GradualUnfreezing")
    trained = {v.path for v in found.model.trainable_variables}
    for path in trained.intersection(found.epoch.frozen, found.epoch.before):
        before, after = found.epoch.before[path], found.epoch.after[path]
        np.testing.assert_array_equal(after, before, path)
    assert moved(found)
