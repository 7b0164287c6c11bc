"""The 1-cycle policy, fitted to the length of `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

from keras_dnn import _arguments
from keras_dnn._keras.optimizers import calls_of, innermost
from keras_dnn.callbacks._resuming import Resumable
from keras_dnn.callbacks.probe import Probe
from keras_dnn.optimizers import Optimizer
from keras_dnn.optimizers._override import is_used, override, put_back, updates_of
from keras_dnn.optimizers.schedules import OneCycle, Schedule
from keras_dnn.optimizers.schedules._cycle import Anneal


class CycleOptions(TypedDict, total=False):
    """The arguments that are passed on to `OneCycle`, whose defaults hold."""

    initial_divisor: float
    final_divisor: float
    warmup_fraction: float
    final_fraction: float
    anneal: Anneal
    name: str


class OneCycleScheduler(Probe, Resumable):
    """Trains with one cycle of the learning rate, and of the momentum against it.

    The cycle is as long as this `fit`: its epochs from `initial_epoch` on times its
    batches, in optimizer updates. The rate, and with an optimizer of this package the
    momentum or beta_1, are read inside the compiled step, so they change at every step,
    also with `steps_per_execution`. With one of Keras's own optimizers only the rate
    can change, and a warning says so. When `fit` is over, however it ends, the
    optimizer has its own rate and momentum again. Another `fit` is another cycle.

    Args:
        max_learning_rate: the rate at the top; see `tuning.find_learning_rate`.
        momentum: its highest and lowest value, `None` to leave it alone.
        total_steps: length of the cycle in updates; only needed for data of unknown
            size, such as a filtered `tf.data.Dataset` without `steps_per_epoch`.
        **options: the other arguments of `OneCycle`: `initial_divisor`,
            `final_divisor`, `warmup_fraction`, `final_fraction` and `anneal`.

    Attributes:
        schedule: the `OneCycle` of this `fit`, or of the last; `None` before the first.
        coverage: the fraction of the cycle that was trained.

    Raises:
        ValueError: if a value lies outside its range, or, in `fit`, if the length of
            the cycle is unknown or the model has a `MultiOptimizer`.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import OneCycleScheduler
        >>> from keras_dnn.optimizers import Nesterov
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(Nesterov(0.01), "mse")
        >>> x = np.ones((64, 3))
        >>> one_cycle = OneCycleScheduler(max_learning_rate=0.05)
        >>> history = model.fit(
        ...     x, x.sum(axis=1), epochs=5, verbose=0, callbacks=[one_cycle]
        ... )
        >>> one_cycle.schedule.total_steps
        10
        >>> one_cycle.coverage
        1.0

    Reference:
        L. N. Smith, "A disciplined approach to neural network hyper-parameters:
        Part 1", 2018.
    """

    def __init__(
        self,
        max_learning_rate: float,
        momentum: tuple[float, float] | None = (0.95, 0.85),
        *,
        total_steps: int | None = None,
        **options: Unpack[CycleOptions],
    ) -> None:
        super().__init__()
        self._total_steps = total_steps
        self._max_learning_rate = max_learning_rate
        self._options = options
        # Reports a bad argument now rather than in `fit`.
        trial = self._cycle(1 if total_steps is None else total_steps)
        if momentum is not None:
            _check(momentum, trial)
        self.momentum: tuple[float, float] | None = momentum
        self._end: int | None = None
        self.schedule: OneCycle | None = None
        self._start = 0
        self._resumed = False
        self._overridden: list[tuple[Any, str]] = []

    @property
    def coverage(self) -> float:
        """The fraction of the cycle that was trained."""
        if self.schedule is None:
            return 0.0
        # Another fit, without this callback, must not count.
        end = updates_of(self._optimizer) if self._end is None else self._end
        return min((end - self._start) / self.schedule.total_steps, 1.0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Attaches to the training step."""
        self._optimizer = innermost(self.model)
        if hasattr(self._optimizer, "optimizers"):
            raise ValueError(
                "OneCycleScheduler drives one optimizer, not a MultiOptimizer. "
                f"Received: model.optimizer={self.model.optimizer}"
            )
        super().on_train_begin(logs)
        self.schedule = self._end = None
        self._resumed = self._resume()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the cycle in the first epoch."""
        if self._overridden:
            return
        optimizer = self._optimizer
        if not self._resumed:
            self._start = updates_of(optimizer)
            self.schedule = self._cycle(self._length(epoch))
        assert self.schedule is not None
        self._back_up(epoch)
        self._follow("learning_rate", self.schedule)
        if self.momentum is None:
            return
        name = "momentum" if hasattr(optimizer, "momentum") else "beta_1"
        if isinstance(optimizer, Optimizer):
            if is_used(optimizer, name):
                self._follow(name, self.schedule.momentum(*self.momentum))
        elif getattr(optimizer, name, 0.0):
            _warn_that_only_the_rate_changes(optimizer, name)

    def _cycle(self, total_steps: int) -> OneCycle:
        return OneCycle(self._max_learning_rate, total_steps, **self._options)

    def _length(self, epoch: int) -> int:
        """How many updates there are to come in this `fit`."""
        if self._total_steps is not None:
            return _arguments.count("total_steps", self._total_steps)
        batches = self.params["steps"]
        if batches is None:
            raise ValueError(
                "total_steps must be given to OneCycleScheduler, because the size of "
                "the data is unknown. Received: total_steps=None"
            )
        every = self._optimizer.gradient_accumulation_steps or 1
        pending = int(calls_of(self._optimizer)) % every
        epochs = int(self.params["epochs"]) - epoch
        return max((pending + epochs * int(batches)) // every, 1)

    def _follow(self, name: str, schedule: Schedule) -> None:
        start = self._start
        override(self._optimizer, name, lambda updates: schedule(updates - start))
        self._overridden.append((self._optimizer, name))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the position for a process that takes over."""
        self._back_up(epoch + 1)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Prints how much of the cycle was trained, if not all of it."""
        self._end = updates_of(self._optimizer)
        super().on_train_end(logs)
        if self.schedule is not None and self.coverage < 1:
            steps = self._end - self._start
            print(  # noqa: T201
                f"1-cycle: trained {self.coverage:.0%} of the cycle, {steps} of "
                f"{self.schedule.total_steps} steps. The learning rate ended at "
                f"{self.schedule.values(max(steps - 1, 0)):.3g}."
            )

    def release(self) -> None:
        """Gives the optimizer its own rate and momentum again."""
        while self._overridden:
            put_back(*self._overridden.pop())

    def _state(self) -> dict[str, Any]:
        """Where the cycle began and how long it is."""
        assert self.schedule is not None
        return {"start": self._start, "total_steps": self.schedule.total_steps}

    def _restore(self, state: dict[str, Any]) -> None:
        """Continues the cycle of a process that ended."""
        self._start = state["start"]
        self.schedule = self._cycle(state["total_steps"])


def _check(momentum: Sequence[float], cycle: OneCycle) -> None:
    try:
        high, low = momentum
        cycle.momentum(high, low)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "momentum must be None or its highest and lowest value, both in [0, 1), "
            f"the highest first. Received: momentum={momentum!r}"
        ) from error


def _warn_that_only_the_rate_changes(optimizer: Any, name: str) -> None:
    warnings.warn(
        f"keras.optimizers.{type(optimizer).__name__} compiles its {name} into "
        "the step as a constant, so only the learning rate follows the cycle. Use the "
        "optimizer of the same name in keras_dnn.optimizers, or momentum=None.",
        stacklevel=2,
    )
