"""Watches a training and reports what goes wrong, with evidence and advice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from keras_dnn import _arguments
from keras_dnn._tensorflow import require_tensorflow
from keras_dnn._unchanged import same_randomness
from keras_dnn.callbacks._doctor.charts import charts
from keras_dnn.callbacks._doctor.diary import Diary
from keras_dnn.callbacks._doctor.recording import Recording
from keras_dnn.callbacks._doctor.saved_history import restored, stored
from keras_dnn.callbacks._only_once import require_once
from keras_dnn.callbacks._resuming import Resumable
from keras_dnn.diagnostics.check import Check
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.registry import selected
from keras_dnn.diagnostics.report import Report, worst_first
from keras_dnn.diagnostics.training_history import TrainingHistory


class Doctor(Resumable):
    """Watches `fit` and reports what goes wrong: the problem, its evidence, the cure.

    It uses the probes: the loss of every step and whether gradients are finite,
    gradient norms and update ratios of every `every`-th step, and, with `data`, dead
    and saturated units and the training loss without dropout at the end of each epoch.
    A finding is printed once, at the end of the epoch in which it first appears;
    `report` holds all of them, at any time: those of now, with the epoch in which each
    was first made, and those that have passed.

    It looks for a loss or gradient that is not finite (the step, and the layer in which
    it started), a learning rate too high or too low, exploding and vanishing gradients,
    dead and saturated units, a plateau, a loss that is no better than that of the best
    constant answer, overfitting, underfitting, and updates out of
    proportion. `registered_checks("during")` lists the checks, and `register_check`
    adds one. Training ends with the same weights as without it, but for a last bit that
    TensorFlow may round differently where a gradient is read twice.

    Calling `fit` again adds to the history; another model or optimizer starts a new
    one. With `keras.callbacks.BackupAndRestore` among the callbacks, a training that
    was killed continues with the history up to the last completed epoch.

    Args:
        data: some training data, a tuple `(x, y)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`; a part is measured each epoch. Without it units
            are not measured, nor what dropout costs, and the layer in which NaN started
            may stay unknown.
        every: at how many steps gradients are measured once.
        samples: about how many examples of `data` to use.
        skip: names of checks to leave out.
        thresholds: thresholds to use in place of the checks' own, by name of the check.
        verbose: 0 for no output, 1 to print findings.

    Attributes:
        report: a `keras_dnn.diagnostics.Report` of the training so far. Its `checked`
            are the checks that had data; before the first step there is none, and
            `assert_healthy` fails.

    Raises:
        ValueError: if `every` or `samples` is not a positive integer, or a name in
            `skip` or `thresholds` is not the name of a check.

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
        verbose: Literal[0, 1] = 1,
    ) -> None:
        super().__init__()
        self.data: Any = data
        self.verbose: Literal[0, 1] = verbose
        self._checks = selected("during", skip, thresholds)
        self._every = _arguments.count("every", every)
        self._samples = _arguments.count("samples", samples)
        self._trained: tuple[Any, Any] = (None, None)
        self._start_over()

    def _start_over(self, earlier: TrainingHistory | None = None) -> None:
        """Starts a new recording, which may continue that of an earlier process."""
        self._recording = Recording(self.data, self._every, self._samples, earlier)
        self._diary = Diary()

    # What fit calls -------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Attaches the probes, and continues what a process that ended has recorded."""
        require_tensorflow("keras_dnn.callbacks.Doctor")
        require_once(self)
        trained = (self.model, self.model.optimizer)
        if any(a is not b for a, b in zip(trained, self._trained, strict=True)):
            self._start_over()
        self._trained = trained
        self._resume()
        self._recording.begin(self.model)
        for probe in self._recording.probes:
            probe.set_params(self.params)
            probe.set_model(self.model)
            probe.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forwards the call to the probes."""
        for probe in self._recording.probes:
            probe.on_epoch_begin(epoch, logs)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Forwards the call to the probes."""
        for probe in self._recording.probes:
            probe.on_train_batch_begin(batch, logs)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Forwards the call to the probes."""
        for probe in self._recording.probes:
            probe.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Records the epoch and its findings, and prints new ones."""
        # A copy: what the probes add would appear in History.
        own = dict(logs or {})
        with same_randomness():
            for probe in self._recording.probes:
                probe.on_epoch_end(epoch, own)
        self._recording.end_epoch(self.model, own)
        self._enter(epoch + 1)
        self._back_up(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Detaches the probes."""
        for probe in self._recording.probes:
            probe.on_train_end(logs)

    def _enter(self, epoch: int) -> None:
        findings = worst_first(self._findings(self._history()))
        for finding in self._diary.enter(findings, epoch):
            if self.verbose:
                print(f"\nEpoch {epoch}: {finding}")  # noqa: T201

    # What outlives the process --------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """The history so far, and what was found in which epochs."""
        return {"history": stored(self._history()), "diary": self._diary.to_json()}

    def _restore(self, state: dict[str, Any]) -> None:
        """Continues what a process that ended has recorded."""
        self._start_over(earlier=restored(state["history"]))
        self._diary = Diary(state["diary"])

    # The report -----------------------------------------------------------------------

    def _history(self) -> TrainingHistory:
        model, _ = self._trained
        return TrainingHistory() if model is None else self._recording.history(model)

    def _made(self, history: TrainingHistory) -> list[Check]:
        """The checks that can be made: those with data, none before the first step."""
        seen = len(history.losses) > 0 or history.nonfinite is not None
        return [c for c in self._checks if seen and c.has_data(history)]

    def _findings(self, history: TrainingHistory) -> list[Finding]:
        return [f for check in self._made(history) for f in check.findings(history)]

    @property
    def report(self) -> Report:
        """The findings on the training so far, and those that have passed."""
        history = self._history()
        findings = self._findings(history)
        return Report(
            getattr(self._trained[0], "name", "no training yet"),
            worst_first(self._diary.dated(findings)),
            tuple(check.name for check in self._made(history)),
            charts(history) if len(history.losses) else (),
            self._diary.passed(findings),
        )
