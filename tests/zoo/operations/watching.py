"""Callbacks that watch `fit`: they change nothing, and see every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dnn import callbacks
from keras_dnn.diagnostics import Report
from tests.zoo.battery import operation, quiet
from tests.zoo.subject import EPOCHS, Subject, assert_close, optimizers_of

GROUP = "training"


class Losses(callbacks.Probe):
    """A probe of a user's own: the loss and the norm of the change of each step."""

    def create(self, variables: Any) -> None:
        self.loss = self.add_variable((), "float64")
        self.losses = self.add_record(1)
        self.calls = self.add_variable((), "int64")

    def on_loss(self, loss: tf.Tensor) -> None:
        self.loss.assign(tf.cast(loss, tf.float64))
        self.calls.assign_add(1)

    def after_update(self, step: callbacks.TrainingStep) -> None:
        self.losses.put(step, [self.loss])


class Steps(keras.callbacks.Callback):
    """Counts batches and updates as Keras does."""

    batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1


@dataclasses.dataclass(frozen=True)
class Training:
    """What is left after `fit`."""

    state: list[np.ndarray]
    history: dict[str, list[float]]
    batches: int
    updates: int
    """Of all optimizers."""
    variables: int
    watchers: dict[str, Any]


CALLBACKS: dict[str, Callable[[Subject], Any]] = {
    "callbacks.PerformanceScheduler": lambda _: callbacks.PerformanceScheduler(
        "loss", patience=EPOCHS - 1, min_delta=1e9, mode="min"
    ),
    "callbacks.GradientNorms": lambda _: callbacks.GradientNorms(),
    "callbacks.StepLogger": lambda _: callbacks.StepLogger(),
    "callbacks.Probe": lambda _: Losses(),
    "callbacks.ActivationStatistics": lambda s: callbacks.ActivationStatistics(
        examples(s)
    ),
    "callbacks.TrainingEvaluation": lambda s: callbacks.TrainingEvaluation(examples(s)),
    "callbacks.Doctor": lambda s: callbacks.Doctor(examples(s), every=1, verbose=0),
}


WATCHERS = list(CALLBACKS)[1:]

READING_GRADIENTS = ("callbacks.GradientNorms", "callbacks.Doctor")
ROUNDED_OTHERWISE = ("sequential_with_batch_norm", "nested_in_and_out")
"""Where TensorFlow multiplies in another order if a gradient is read twice.

It reorders products such as `rate * (a * b)` only where nothing else reads `a * b`.
With `arithmetic_optimization` off the weights are equal bit for bit here too.
"""
LAST_BIT = 1e-6


def examples(subject: Subject) -> Any:
    """The training data, as callbacks take it."""
    data = subject.data
    if data.y is None:
        return data.x if subject.batched else (data.x,)
    if data.sample_weight is None:
        return data.x, data.y
    return data.x, data.y, data.sample_weight


def training(
    subject: Subject, names: list[str], model: keras.Model | None = None
) -> Training:
    model = model or subject.fresh()
    watchers = {name: CALLBACKS[name](subject) for name in names}
    steps = Steps()
    history = subject.fit(model, [steps, *watchers.values()])
    optimizers = optimizers_of(model)
    state = [*model.variables, *(v for o in optimizers for v in o.variables)]
    return Training(
        state=[v.numpy() for v in state if not v.path.endswith("learning_rate")],
        history=history,
        batches=steps.batches,
        updates=updates_of(optimizers, steps.batches),
        variables=len(model.trainable_variables),
        watchers=watchers,
    )


def updates_of(optimizers: list[Any], batches: int) -> int:
    """How often the optimizers were applied.

    Keras 3.15 adds one to `iterations` in each epoch of a set of unknown length.
    """
    if len(optimizers) == 1:
        return batches // (optimizers[0].gradient_accumulation_steps or 1)
    return sum(int(optimizer.iterations.numpy()) for optimizer in optimizers)


def plain(subject: Subject) -> Training:
    """A `fit` without watchers.

    With a scheduler whose first reduction comes after the last step: where that had
    an effect on the steps, they would differ from those with watchers.
    """
    scheduler = "callbacks.PerformanceScheduler"
    names = [scheduler] if quiet(scheduler, subject) else []
    return subject.once("plain", lambda: training(subject, names, subject.built()))


def together(subject: Subject) -> Training | None:
    """One `fit` with all watchers of which nothing but work is expected."""
    names = [name for name in WATCHERS if in_one_fit(name, subject)]
    try:
        return training(subject, names)
    except Exception:
        return None  # Each by itself will say why.


def of_keras(history: dict[str, list[float]]) -> list[list[float]]:
    """The metrics, those that Keras reports first, without the learning rate."""
    return [values for name, values in history.items() if name != "learning_rate"]


def rounds_otherwise(name: str, subject: Subject) -> bool:
    return name in READING_GRADIENTS and subject.zoo.name in ROUNDED_OTHERWISE


def in_one_fit(name: str, subject: Subject) -> bool:
    return quiet(name, subject) and not rounds_otherwise(name, subject)


def watched(subject: Subject, name: str) -> Any:
    """The callback after a `fit`, which gave what plain `fit` gives."""
    found = None
    if in_one_fit(name, subject):
        found = subject.once("together", lambda: together(subject))
    if found is None:
        found = training(subject, [name])
    expected = plain(subject)
    tolerance = LAST_BIT if rounds_otherwise(name, subject) else 0.0
    assert_close(found.state, expected.state, tolerance)
    # By position, for names such as `dense_4_loss` count the layers of the process.
    # What callbacks add comes after them.
    shown = of_keras(found.history)
    for one, other in zip(shown, of_keras(expected.history), strict=False):
        np.testing.assert_allclose(one, other, rtol=tolerance)
    return found.watchers[name]


@operation(GROUP, "callbacks.PerformanceScheduler", needs=["trains"])
def performance_scheduler(subject: Subject) -> None:
    scheduler = "callbacks.PerformanceScheduler"
    quietly = quiet(scheduler, subject)
    found = plain(subject) if quietly else training(subject, [scheduler])
    assert found.watchers[scheduler].reductions == ("loss" in found.history)
    assert len(found.history["learning_rate"]) == EPOCHS


@operation(GROUP, "callbacks.GradientNorms", needs=["trains"])
def gradient_norms(subject: Subject) -> None:
    norms = watched(subject, "callbacks.GradientNorms")
    assert len(norms.steps) == plain(subject).updates
    assert len(norms.names) == plain(subject).variables
    assert np.isfinite(norms.global_norms).all()
    assert (norms.global_norms > 0).all()


@operation(GROUP, "callbacks.StepLogger", needs=["trains"])
def step_logger(subject: Subject) -> None:
    log = watched(subject, "callbacks.StepLogger")
    # Of a step with several losses, each has an update and a row.
    assert len(log.losses) == max(plain(subject).batches, plain(subject).updates)
    assert np.isfinite(log.losses).all()
    assert_mean_is_the_epochs(subject, log.losses)


@operation(
    GROUP,
    "callbacks.Probe",
    "callbacks.Record",
    "callbacks.TrainingStep",
    needs=["trains"],
)
def probe(subject: Subject) -> None:
    losses = watched(subject, "callbacks.Probe").losses
    assert losses.values.shape == (plain(subject).updates, 1)
    assert np.isfinite(losses.values).all()
    assert_mean_is_the_epochs(subject, losses.values[:, 0])


def assert_mean_is_the_epochs(subject: Subject, losses: np.ndarray) -> None:
    """The losses of the steps are those that Keras averages over an epoch."""
    shown = plain(subject).history.get("loss")
    if shown is not None and len(losses) == plain(subject).batches:
        epochs = losses.reshape(EPOCHS, -1)
        np.testing.assert_allclose(epochs.mean(axis=1), shown, rtol=1e-4)


@operation(GROUP, "callbacks.ActivationStatistics", needs=["trains"])
def activation_statistics(subject: Subject) -> None:
    found = watched(subject, "callbacks.ActivationStatistics")
    assert len(found.names) > 0
    # The first is of the weights as they were initialized, if they were.
    assert found.stds.shape[0] in (EPOCHS, EPOCHS + 1)
    assert found.stds.shape[1] == len(found.names)
    assert np.isfinite(found.stds).all()


@operation(GROUP, "callbacks.TrainingEvaluation", needs=["trains"])
def training_evaluation(subject: Subject) -> None:
    found = watched(subject, "callbacks.TrainingEvaluation")
    assert len(found.losses) == EPOCHS
    # A `test_step` that reports no loss is warned of.
    reported = quiet("callbacks.TrainingEvaluation", subject)
    assert (np.isfinite(found.losses) == reported).all()


@operation(GROUP, "callbacks.Doctor", needs=["trains"])
def doctor(subject: Subject) -> None:
    report = watched(subject, "callbacks.Doctor").report
    assert isinstance(report, Report)
    assert str(report)
