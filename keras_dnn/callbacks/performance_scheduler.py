"""Performance scheduling: a lower rate when the model stops improving."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import keras

from keras_dnn import _arguments
from keras_dnn._keras.end_of_fit import when_fit_ends
from keras_dnn._keras.losses import own_step
from keras_dnn._typing import Every
from keras_dnn.callbacks._best_weights import BestWeights, delete_others
from keras_dnn.callbacks._evaluation import evaluated
from keras_dnn.callbacks._learning_rate import ReducibleRate, optimizers_to_reduce
from keras_dnn.callbacks._metrics import should_rise, warn_of_missing
from keras_dnn.callbacks._only_once import require_once
from keras_dnn.callbacks._plateau import Plateau
from keras_dnn.callbacks._resuming import Resumable, states_in

Mode: TypeAlias = Literal["auto", "min", "max"]


class PerformanceScheduler(Resumable):
    """Multiplies the learning rate by a factor when a metric stops improving.

    The metric is evaluated at the end of each epoch, or after a number of batches. An
    evaluation is an improvement if it beats the best so far by more than `min_delta`.
    After `patience` evaluations in a row without improvement, the rate is multiplied by
    `factor`, the count begins again, and the next `cooldown` evaluations are not
    counted. With `patience=2`, values of 1.0, 0.9, 0.9, 0.9 reduce the rate after the
    fourth.

    It works on top of any schedule, which is replaced by `Scaled(schedule, factor)`,
    and on all optimizers of a `MultiOptimizer`, or of a `train_step` of your own, at
    once. `History` gets the `learning_rate` of each epoch, that of the first of them.
    With `keras.callbacks.BackupAndRestore` among the callbacks, a process that takes
    over continues with the best value, the count and the cooldown of the last epoch's
    end.

    Args:
        monitor: name of the metric as in `History`. Evaluations that do not report it,
            as with `validation_freq=2`, are not counted; a warning names those there
            are.
        factor: what the rate is multiplied by, in (0, 1).
        patience: evaluations without improvement to tolerate, at least 1.
        every: `"epoch"`, or a number of batches after which `validation_data` is
            evaluated. Blocks of `steps_per_execution` batches are not broken up.
        validation_data: what to evaluate if `every` is a number: a tuple `(x, y)` or
            `(x, y, sample_weight)`, a `tf.data.Dataset` or a `keras.utils.PyDataset`.
        min_delta: an improvement must beat the best value by more than this, at least
            0.
        relative: whether `min_delta` is a fraction of the best value's size; also right
            for negative metrics.
        cooldown: number of evaluations after a reduction that are not counted.
        min_learning_rate: the rate is not reduced below this.
        restore_best: whether a reduction returns to the best weights so far.
        mode: whether the metric should be low, `"min"`, or high, `"max"`; `"auto"` asks
            the metric, or else goes by its name.
        verbose: whether to print a line for each reduction.

    Attributes:
        best: the best value so far.
        wait: number of evaluations in a row without improvement.
        reductions: number of times the rate was reduced.

    Raises:
        ValueError: if a value lies outside its range, or, in `fit`, if the rate is a
            callable.

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
        every: Every = "epoch",
        validation_data: Any = None,
        min_delta: float = 1e-4,
        relative: bool = False,
        cooldown: int = 0,
        min_learning_rate: float = 0.0,
        restore_best: bool = False,
        mode: Mode = "auto",
        verbose: Literal[0, 1] | bool = 0,
    ) -> None:
        super().__init__()
        self.monitor: str = monitor
        self.factor: float = _arguments.number("factor", factor, high=1.0, bounds="()")
        self.patience: int = _arguments.count("patience", patience)
        self.every: Every = _arguments.every(every)
        if every != "epoch" and not monitor.startswith("val_"):
            raise ValueError(
                "monitor must begin with 'val_' if every is a number of batches: "
                "the training metrics are those of the epoch so far. "
                f"Received: monitor={monitor!r}, every={every}"
            )
        if (every != "epoch") != (validation_data is not None):
            raise ValueError(
                "validation_data must be given if every is a number of batches, and "
                "only then; at the end of an epoch, fit evaluates its own. "
                f"Received: every={every!r}, validation_data={validation_data!r}"
            )
        self.validation_data: Any = validation_data
        self.min_delta: float = _arguments.number("min_delta", min_delta)
        self.relative: bool = _arguments.switch("relative", relative)
        self.cooldown: int = _arguments.count("cooldown", cooldown, least=0)
        self.min_learning_rate: float = _arguments.number(
            "min_learning_rate", min_learning_rate
        )
        self.restore_best: bool = _arguments.switch("restore_best", restore_best)
        self.mode: Mode = _arguments.choice("mode", mode, get_args(Mode))
        self.verbose: Literal[0, 1] | bool = verbose
        self._reset()

    def _reset(self) -> None:
        self._plateau = Plateau()
        self.reductions: int = 0
        self._restored_best = False
        self._best = BestWeights()

    @property
    def best(self) -> float:
        """The best value so far, NaN before the first."""
        return self._plateau.best

    @property
    def wait(self) -> int:
        """Number of evaluations in a row without improvement."""
        return self._plateau.wait

    # What fit calls -------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts from the beginning, or where a process that ended left off."""
        require_once(self)
        self._reset()
        self._batches = 0
        self._warned = False
        self._rates = [
            ReducibleRate(optimizer) for optimizer in optimizers_to_reduce(self.model)
        ]
        # An exception in `fit` skips `on_train_end`.
        when_fit_ends(self.model, self._unwrap)
        if any(rate.number is None for rate in self._rates):
            # A model fitted before has the bare schedule in its graph, or the number
            # over which a schedule was set.
            self.model.make_train_function(force=True)
        self._resume()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the batches from here."""
        self._before_epoch = self._batches
        self._back_up(epoch)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Evaluates after `every` batches, if it is a number."""
        if self.every == "epoch":
            return
        before = self._batches // self.every
        # The last block of an epoch may be a short one.
        done = min(batch + 1, self.params["steps"] or batch + 1)
        self._batches = self._before_epoch + done
        if self._batches // self.every > before:
            results = evaluated(self.model, self.validation_data)
            metrics = {f"val_{name}": value for name, value in results.items()}
            self._judge(metrics, f"batch {self._batches}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Goes by the metrics of the epoch, unless `every` is a number."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = self._used_rates()[0].value
        if self.every == "epoch":
            self._judge(logs, f"epoch {epoch + 1}")
        self._back_up(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves a schedule that was never scaled as it was."""
        self._unwrap()
        self._best = BestWeights()

    def _unwrap(self) -> None:
        for rate in self._rates:
            rate.unwrap()

    # After each evaluation ------------------------------------------------------------

    def _judge(self, metrics: dict[str, Any], when: str) -> None:
        if metrics.get(self.monitor) is None:
            if not self._warned:
                self._warned = True
                warn_of_missing("PerformanceScheduler", self.monitor, metrics, when)
            return
        value = float(metrics[self.monitor])
        self._restored_best = False
        self._plateau = self._plateau.after(
            value,
            patience=self.patience,
            cooldown=self.cooldown,
            min_delta=self.min_delta,
            relative=self.relative,
            maximise=self._maximise(),
        )
        if self._plateau.improved and self.restore_best:
            self._best = BestWeights(self.model.get_weights())
        if self._plateau.reached:
            self._reduce(when)

    def _maximise(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        return should_rise(self.model, self.monitor.removeprefix("val_"))

    def _reduce(self, when: str) -> None:
        rates = self._used_rates()
        before = rates[0].value
        minimum = self.min_learning_rate
        if minimum and all(rate.value <= minimum for rate in rates):
            return
        for rate in rates:
            rate.reduce(self.factor, minimum)
        if keras.backend.backend() == "jax" and any(
            rate.number is None for rate in self._rates
        ):
            # A compiled step of JAX takes the factor of a schedule for a constant.
            self.model.make_train_function(force=True)
        self.reductions += 1
        if self._best.values is not None:
            self.model.set_weights(self._best.values)
            self._restored_best = True
        if self.verbose:
            print(  # noqa: T201
                f"\n{when}: {self.monitor} has not beaten {self.best:.5g} in "
                f"{self.patience} evaluations, learning rate {before:.3g} -> "
                f"{rates[0].value:.3g}"
            )

    def _used_rates(self) -> list[ReducibleRate]:
        """The rates of the optimizers that the training step applies."""
        if not own_step(self.model, "train_step"):
            return self._rates
        return [rate for rate in self._rates if rate.is_used] or self._rates

    # What outlives the process --------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        """The best value, the counts and the factors of the schedules."""
        return {
            "best": self._plateau.best,
            "wait": self._plateau.wait,
            "cooling": self._plateau.cooling,
            "reductions": self.reductions,
            "batches": self._batches,
            "weights": self._best.name,
            "restored_best": self._restored_best,
            "rates": [rate.number for rate in self._rates],
            "factors": [rate.factor for rate in self._rates],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Takes over from a process that ended."""
        # Everything is read before anything is changed: a state may be torn.
        plateau = Plateau(state["best"], state["wait"], state["cooling"])
        reductions, batches = state["reductions"], state["batches"]
        best = BestWeights.load(self._files[0].parent, state["weights"])
        restored_best = state["restored_best"] and best.values is not None
        rates = list(zip(self._rates, state["rates"], state["factors"], strict=True))
        if restored_best:
            self.model.set_weights(best.values)
        self._plateau, self._best = plateau, best
        self.reductions, self._batches = reductions, batches
        # The model may have been backed up just before the evaluation changed it.
        for rate, number, factor in rates:
            rate.factor, rate.number = factor, number

    def _back_up(self, epochs: int) -> None:
        """Stores the best weights, and then the state that names their file."""
        for file in self._files[:1]:
            self._best.store(file.parent, f"{file.stem}-{epochs}.npz")
        super()._back_up(epochs)
        for file in self._files[:1]:
            used = {state["weights"] for state in states_in(file).values()}
            delete_others(file.parent, f"{file.stem}-*.npz", used)
