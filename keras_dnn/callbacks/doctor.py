"""Looks after a training: names what goes wrong, with evidence and advice."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._batches import first_batches, first_rows
from keras_dnn._keras.layers import sublayers
from keras_dnn._unchanged import same_randomness
from keras_dnn.callbacks._doctor.charts import charts
from keras_dnn.callbacks._doctor.checks import CHECKS
from keras_dnn.callbacks._doctor.first_bad_step import FirstBadStep
from keras_dnn.callbacks._doctor.history import Course
from keras_dnn.callbacks._resuming import Resumable
from keras_dnn.callbacks.activation_statistics import ActivationStatistics
from keras_dnn.callbacks.gradient_norms import GradientNorms
from keras_dnn.callbacks.step_logger import StepLogger
from keras_dnn.callbacks.training_evaluation import TrainingEvaluation
from keras_dnn.diagnostics import Report
from keras_dnn.diagnostics._loss import guess_of, loss_of
from keras_dnn.diagnostics.check import chosen
from keras_dnn.diagnostics.report import worst_first
from keras_dnn.layers._stochastic import rates

BATCHES = 16
"""So many of the data are gone through for an example on which a layer fails."""

LEFT = 0.01
"""Of the statistics that a batch norm began with, when they don't count any more."""


class Doctor(Resumable):
    """Watches `fit` and names what goes wrong: the disease, its evidence, the cure.

    It is built on the probes: the loss of every step and whether gradients are finite,
    gradient norms and update ratios of every `every`-th step, and, with `data`, dead
    and saturated units and the honest training loss at each epoch's end. What it finds
    is printed once, at the end of the epoch in which it first shows; `report` holds
    all of it, at any time.

    It looks for a loss or gradient that is not finite (the step, and the layer in which
    it began), a learning rate too high or too low, exploding and vanishing gradients,
    dead and saturated units, a plateau, overfitting, underfitting, and updates out of
    proportion. Training ends with the same weights, bit for bit, as without it.

    Calling `fit` again adds to what it knows; another model or optimizer begins anew.
    With `keras.callbacks.BackupAndRestore` among the callbacks it goes on, after the
    end of the process, with what it knew at the last epoch's end.

    Args:
        data: some training data, a tuple `(x, y)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`: a part is looked at each epoch. Without it units
            are not seen, nor what dropout costs, and the layer in which NaN began may
            stay unknown.
        every: at how many steps gradients are measured once.
        samples: about how many examples of `data` to use.
        skip: names of checks to leave out.
        thresholds: other thresholds than those of the checks, by name.
        verbose: 0 for silence, 1 to print findings.

    Attributes:
        report: a `keras_dnn.diagnostics.Report` of the training so far.

    Raises:
        ValueError: if `every` or `samples` is not a positive integer, or a name in
            `skip` or `thresholds` is not that of a check.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import Doctor
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(100.0), "mse")
        >>> x = np.random.default_rng(0).normal(size=(64, 3))
        >>> doctor = Doctor(verbose=0)
        >>> history = model.fit(
        ...     x, x.sum(axis=1), epochs=1, batch_size=8, verbose=0, callbacks=[doctor]
        ... )
        >>> doctor.report.findings[0].name
        'rate-too-high'

    Reference:
        A. Karpathy, "CS231n: Neural Networks Part 3", on what to watch.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        every: int = 16,
        samples: int = 512,
        skip: Iterable[str] = (),
        thresholds: Mapping[str, float] | None = None,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        self.data = data
        self.verbose = verbose
        self._checks = chosen(CHECKS, skip, thresholds)
        self._every = _arguments.count("every", every)
        self._samples = _arguments.count("samples", samples)
        self._trained: tuple[Any, Any] = (None, None)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Knows nothing of any training."""
        self._earlier: Course | None = None
        self._epochs: list[list[float]] = []
        self._told: set[str] = set()
        self._steps = StepLogger()
        # Without a folder to write to it needs no TensorBoard.
        norms = functools.partial(GradientNorms, log_dir=None)
        self._gradients = norms(every=self._every)
        self._first_bad = FirstBadStep()
        self._units: ActivationStatistics | None = None
        self._evaluation: TrainingEvaluation | None = None
        if self.data is not None:
            self._units = ActivationStatistics(first_rows(self.data, self._samples))
            if not isinstance(self.data, tuple) or len(self.data) > 1:
                self._evaluation = TrainingEvaluation(self.data, samples=self._samples)

    def _parts(self) -> list[keras.callbacks.Callback]:
        parts = (
            self._steps,
            self._gradients,
            self._first_bad,
            self._units,
            self._evaluation,
        )
        return [part for part in parts if part is not None]

    # What fit calls -------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Attaches the probes, to go on where a process that ended left off."""
        trained = (self.model, self.model.optimizer)
        if any(a is not b for a, b in zip(trained, self._trained, strict=True)):
            self._begin_anew()
        self._trained = trained
        self._resume()
        for part in self._parts():
            part.set_params(self.params)
            part.set_model(self.model)
            part.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Hands on."""
        for part in self._parts():
            part.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Hands on."""
        for part in self._parts():
            part.on_train_batch_begin(batch, logs)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Hands on."""
        for part in self._parts():
            part.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the epoch, and says what is new."""
        # What the parts would add to History is not asked for here.
        own = dict(logs or {})
        with same_randomness():
            for part in self._parts():
                part.on_epoch_end(epoch, own)
        names = ("loss", "val_loss", "train_eval_loss", "train_eval_regularisation")
        self._epochs.append([float(own.get(name, np.nan)) for name in names])
        if self.verbose:
            self._tell(epoch)
        self._back_up(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Detaches the probes."""
        for part in self._parts():
            part.on_train_end(logs)

    def _tell(self, epoch: int) -> None:
        for finding in self.report.findings:
            if finding.name not in self._told and finding.severity != "note":
                self._told.add(finding.name)
                print(f"\nEpoch {epoch + 1}: {finding}")  # noqa: T201

    # What outlives the process --------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """The course so far, and what was told of it."""
        return {"course": self._course().packed(), "told": sorted(self._told)}

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes over from a process that ended."""
        self._begin_anew()
        self._earlier = Course.unpacked(state["course"])
        self._told = set(state["told"])

    # The report -----------------------------------------------------------------------

    @property
    def report(self) -> Report:
        """What is known of the training so far."""
        course = self._course()
        findings = [f for check in self._checks for f in check.find(course, check)]
        return Report(
            getattr(self._trained[0], "name", "no training yet"),
            worst_first(findings),
            tuple(check.name for check in self._checks),
            charts(course) if len(course.losses) else (),
        )

    def _course(self) -> Course:
        gradients, units = self._gradients, self._units
        model, _ = self._trained
        losses = np.asarray(self._steps.losses, "float64")
        before = 0 if self._earlier is None else len(self._earlier.losses)
        settled = _settled(model, before + len(losses))
        if not settled:
            units = None
        shapes = {v.path: v.shape for v in getattr(model, "variables", ())}
        columns = [
            i
            for i, name in enumerate(gradients.names)
            if len(shapes.get(name, ())) > 1 and not name.endswith("embeddings")
        ]
        epochs = np.array(self._epochs, "float64").reshape(-1, 4)
        evaluation = self._evaluation
        course = Course(
            losses=losses,
            steps=gradients.steps,
            norms=gradients.norms[:, columns],
            kernels=[gradients.names[i] for i in columns],
            global_norms=gradients.global_norms,
            ratios=gradients.ratios[:, columns],
            global_ratios=gradients.global_ratios,
            layers=units.names if units is not None else [],
            dead=units.dead if units is not None else np.empty((0, 0)),
            saturated=units.saturated if units is not None else np.empty((0, 0)),
            epochs=epochs[:, 0],
            validation=epochs[:, 1],
            evaluation=epochs[:, 2],
            noise=epochs[:, 3] if settled else np.full(len(epochs), np.nan),
            dropout=max((r for p in sublayers(model) for r in rates(p)), default=0.0),
            guess=np.nan if model is None else guess_of(loss_of(model)),
            verdict=evaluation.verdict if evaluation is not None else "unknown",
            advice=evaluation.advice if evaluation is not None else "",
            bad=self._first_bad.look(self._batches()),
        )
        return course if self._earlier is None else course.after(self._earlier)

    def _batches(self) -> Iterator[Any]:
        """Inputs, to find the layer with in which NaN began."""
        if self.data is not None:
            # It may be one example in thousands that a layer fails on.
            yield from first_batches(self.data, BATCHES, self._samples)


def _settled(model: Any, batches: int) -> bool:
    """Whether batch norms have seen enough for a look in inference mode.

    Until then their moving statistics are in part those that they began with. By such
    half of a layer may seem dead: a variance of 1 is large beside that of many layers.
    """
    return all(
        part.momentum**batches < LEFT
        for part in sublayers(model)
        if isinstance(part, keras.layers.BatchNormalization) and part.trainable
    )
