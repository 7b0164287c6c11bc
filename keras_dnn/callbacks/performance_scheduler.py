"""Performance scheduling: a lower rate when the model stops improving."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn import _arguments
from keras_dnn.callbacks._evaluation import evaluated
from keras_dnn.callbacks._learning_rate import Rate, optimizers_of
from keras_dnn.callbacks._resuming import Resumable


class PerformanceScheduler(Resumable):
    """Multiplies the learning rate by a factor when a metric stops improving.

    The metric is looked at once an epoch, or every so many batches. A look is an
    improvement if it beats the best so far by more than `min_delta`. After `patience`
    looks in a row without one, the rate is multiplied by `factor`, the count begins
    anew, and the next `cooldown` looks are not counted. With `patience=2`, looks
    of 1.0, 0.9, 0.9, 0.9 reduce the rate after the fourth.

    It works on top of any schedule, which is turned into `Scaled(schedule, factor)`,
    and on all optimizers of a `MultiOptimizer` at once. `History` gets
    `learning_rate` for each epoch. With `keras.callbacks.BackupAndRestore` among the
    callbacks, the best value, the count and the cooldown survive the end of the
    process, as they were at the last epoch's end.

    Args:
        monitor: name of the metric as in `History`.
        factor: what the rate is multiplied by, in (0, 1).
        patience: how many looks without improvement are borne, at least 1.
        every: `"epoch"`, or a count of batches after which `validation_data` is
            evaluated. Blocks of `steps_per_execution` batches are not broken up.
        validation_data: what `evaluate` is given if `every` is a count: a tuple
            `(x, y)` or `(x, y, sample_weight)`, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        min_delta: how much better is better, at least 0.
        relative: whether `min_delta` is a share of the best value's size; also right
            for negative metrics.
        cooldown: how many looks after a reduction are not counted.
        min_learning_rate: the rate is not reduced below this.
        restore_best: whether a reduction goes back to the best weights so far.
        mode: `"min"`, `"max"` or `"auto"`, which asks the metric and else goes by its
            name.
        verbose: whether to print a line for each reduction.

    Attributes:
        best: the best value so far.
        wait: how many looks in a row were no improvement.
        reductions: how often the rate was reduced.

    Raises:
        ValueError: if a value lies outside its range, or, in `fit`, if there is no such
            metric or the rate is a callable.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import PerformanceScheduler
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(1e-9), "mse")
        >>> x = np.ones((8, 3))
        >>> plateau = PerformanceScheduler("loss", patience=2)
        >>> history = model.fit(
        ...     x, x.sum(axis=1), epochs=5, verbose=0, callbacks=[plateau]
        ... )
        >>> plateau.reductions
        2
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.5,
        patience: int = 5,
        *,
        every: str | int = "epoch",
        validation_data: Any = None,
        min_delta: float = 1e-4,
        relative: bool = False,
        cooldown: int = 0,
        min_learning_rate: float = 0.0,
        restore_best: bool = False,
        mode: str = "auto",
        verbose: int = 0,
    ) -> None:
        super().__init__()
        self.monitor = monitor
        self.factor = _arguments.number("factor", factor, high=1.0, bounds="()")
        self.patience = _arguments.count("patience", patience)
        self.every = every if every == "epoch" else _arguments.count("every", every)
        if every != "epoch" and not monitor.startswith("val_"):
            raise ValueError(
                "monitor must begin with 'val_' where every is a count of batches: "
                "the training metrics are those of the epoch so far. "
                f"Received: monitor={monitor!r}, every={every}"
            )
        if (every != "epoch") != (validation_data is not None):
            raise ValueError(
                "validation_data must be given if every is a count of batches, and "
                "only then; by epoch, fit evaluates its own. "
                f"Received: every={every!r}, validation_data={validation_data!r}"
            )
        self.validation_data = validation_data
        self.min_delta = _arguments.number("min_delta", min_delta)
        self.relative = _arguments.switch("relative", relative)
        self.cooldown = _arguments.count("cooldown", cooldown, least=0)
        self.min_learning_rate = _arguments.number(
            "min_learning_rate", min_learning_rate
        )
        self.restore_best = _arguments.switch("restore_best", restore_best)
        self.mode = _arguments.choice("mode", mode, ("auto", "min", "max"))
        self.verbose = verbose
        self._forget()

    def _forget(self) -> None:
        self.best = math.nan
        self.wait = 0
        self.reductions = 0
        self._cooling = 0
        self._went_back = False
        self._best_weights: list[np.ndarray] | None = None

    # What fit calls -------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins anew, or where a process that ended left off."""
        self._forget()
        self._batches = 0
        self._rates = [Rate(optimizer) for optimizer in optimizers_of(self.model)]
        if any(rate.wrapped for rate in self._rates):
            # A model fitted before has the bare schedule in its graph.
            self.model.make_train_function(force=True)
        self._resume()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the batches from here."""
        self._before_epoch = self._batches
        self._back_up(epoch)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Looks every so many batches."""
        if self.every == "epoch":
            return
        every = int(self.every)
        before = self._batches // every
        # The last block of an epoch may be a short one.
        done = min(batch + 1, self.params["steps"] or batch + 1)
        self._batches = self._before_epoch + done
        if self._batches // every > before:
            self._look(self._evaluate(), f"batch {self._batches}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks once an epoch."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = self._rates[0].value
        if self.every == "epoch":
            self._look(logs, f"epoch {epoch + 1}")
        self._back_up(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves a schedule that was never scaled as it was."""
        for rate in self._rates:
            rate.unwrap()
        self._best_weights = None

    # One look -------------------------------------------------------------------------

    def _look(self, metrics: dict[str, Any], when: str) -> None:
        if self.monitor not in metrics:
            raise ValueError(
                f"monitor must be one of {sorted(metrics)}. "
                f"Received: monitor={self.monitor!r}"
            )
        value = float(metrics[self.monitor])
        self._went_back = False
        if self._improves(value):
            self.best, self.wait = value, 0
            if self.restore_best:
                self._best_weights = self.model.get_weights()
        elif self._cooling:
            self.wait = 0
        else:
            self.wait += 1
        self._cooling = max(self._cooling - 1, 0)
        if self.wait >= self.patience:
            self._reduce(when)

    def _improves(self, value: float) -> bool:
        if math.isnan(self.best):
            return not math.isnan(value)
        size = abs(self.best) if self.relative and math.isfinite(self.best) else 1.0
        margin = self.min_delta * size
        gain = value - self.best if self._maximise() else self.best - value
        return gain > margin

    def _maximise(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        for metric in self.model.metrics:
            for inner in [*getattr(metric, "metrics", []), metric]:
                direction = getattr(inner, "_direction", None)
                # With several outputs the name of one comes before the metric's.
                meant = name == inner.name or name.endswith(f"_{inner.name}")
                if meant and direction in ("up", "down"):
                    return bool(direction == "up")
        return any(word in name for word in ("acc", "auc", "precision", "recall"))

    def _reduce(self, when: str) -> None:
        self.wait = 0
        self._cooling = self.cooldown
        before = self._rates[0].value
        floor = self.min_learning_rate
        if floor and all(rate.value <= floor for rate in self._rates):
            return
        for rate in self._rates:
            rate.reduce(self.factor, floor)
        self.reductions += 1
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)
            self._went_back = True
        if self.verbose:
            print(  # noqa: T201
                f"\n{when}: {self.monitor} has not beaten {self.best:.5g} for "
                f"{self.patience} looks, learning rate {before:.3g} -> "
                f"{self._rates[0].value:.3g}"
            )

    def _evaluate(self) -> dict[str, Any]:
        results = evaluated(self.model, self.validation_data)
        return {f"val_{name}": value for name, value in results.items()}

    # What outlives the process --------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """The best value, the counts and the factors of the schedules."""
        return {
            "best": self.best,
            "wait": self.wait,
            "cooling": self._cooling,
            "reductions": self.reductions,
            "batches": self._batches,
            "weights": self._best_weights is not None,
            "went_back": self._went_back,
            "rates": [rate.number for rate in self._rates],
            "factors": [rate.factor for rate in self._rates],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes over from a process that ended."""
        self.best = state["best"]
        self.wait = state["wait"]
        self._cooling = state["cooling"]
        self.reductions = state["reductions"]
        self._batches = state["batches"]
        for rate, factor in zip(self._rates, state["factors"], strict=True):
            rate.factor = factor
        if state["weights"]:
            with np.load(self._weights_file()) as arrays:
                self._best_weights = [arrays[name] for name in arrays.files]
        # The model may have been backed up just before the look changed it.
        for rate, number in zip(self._rates, state["rates"], strict=True):
            rate.number = number
        if state["went_back"] and self._best_weights is not None:
            self.model.set_weights(self._best_weights)

    def _back_up(self, epochs: int) -> None:
        """Stores the state, and the best weights with it."""
        super()._back_up(epochs)
        if self._files and self._best_weights is not None:
            np.savez(self._weights_file(), *self._best_weights)

    def _weights_file(self) -> Path:
        return self._files[0].with_suffix(".npz")
