"""The 1-cycle policy, fitted to the length of `fit`."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from keras_dnn import _arguments
from keras_dnn._keras.losses import own_step
from keras_dnn._keras.optimizers import calls_of, innermost
from keras_dnn.callbacks._one_cycle import (
    Followed,
    check_momentum,
    momentum_of,
    require_one,
    warn_if_only_the_rate_changes,
)
from keras_dnn.callbacks._probe import unseen
from keras_dnn.callbacks._probe.traced import Traced
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

    A `train_step` of your own may apply another optimizer than `model.optimizer`; that
    one follows the cycle. With `keras.callbacks.BackupAndRestore` among the callbacks,
    a process that takes over continues the cycle; an epoch that Keras trains again goes
    through its part of the cycle again.

    Args:
        max_learning_rate: the rate at the top; that of `tuning.find_learning_rate` has
            the same name.
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
            the cycle is unknown, the model has a `MultiOptimizer` or its `train_step`
            applies several optimizers.

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
            check_momentum(momentum, trial)
        self.momentum: tuple[float, float] | None = momentum
        self._end: int | None = None
        self.schedule: OneCycle | None = None
        self._start = 0
        self._resumed: dict[str, Any] | None = None
        self._epochs = 0
        self._followed: dict[int, Followed] = {}
        self._warned = False
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
        if not own_step(self.model, "train_step"):
            require_one([innermost(self.model)], self.model)
        super().on_train_begin(logs)
        self.schedule = self._end = None
        self._resumed = None
        self._followed = {}
        self._warned = False
        self._resume()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the cycle in the first epoch."""
        if self._overridden:
            return
        # Which of several optimizers a step of the user's own applies, its trace tells.
        for optimizer in self._optimizers():
            if not hasattr(optimizer, "optimizers"):
                self._begin(optimizer, epoch)
        for optimizer in self._optimizers()[:1]:
            self._drive(optimizer)
        self._back_up(epoch)

    def _begin(self, optimizer: Any, epoch: int) -> None:
        """Has one optimizer follow the cycle."""
        start, total_steps = updates_of(optimizer), None
        if self._resumed is not None:
            start = self._resumed_start(optimizer, epoch, self._resumed)
            total_steps = self._resumed["total_steps"]
        schedule = self._cycle(total_steps or self._length(optimizer, epoch))
        self._followed[id(optimizer)] = Followed(optimizer, start, schedule)
        self._follow(optimizer, "learning_rate", schedule, start)
        name = momentum_of(optimizer)
        uses_momentum = isinstance(optimizer, Optimizer) and is_used(optimizer, name)
        if self.momentum is not None and uses_momentum:
            self._follow(optimizer, name, schedule.momentum(*self.momentum), start)

    def _drive(self, optimizer: Any) -> None:
        """Goes by this optimizer's cycle from now on."""
        followed = self._followed.get(id(optimizer))
        if followed is not None:
            self._optimizer, self._start, self.schedule = followed

    def _resumed_start(self, optimizer: Any, epoch: int, state: dict[str, Any]) -> int:
        """Where the cycle began, by the updates that the restored optimizer counts.

        Keras begins an epoch again that was not complete, also with weights of its
        middle. Its part of the cycle then belongs to the epoch as it is trained again.
        """
        start, batches = int(state["start"]), self.params["steps"]
        position = state.get("position")
        if position is None or batches is None:
            return start
        every = optimizer.gradient_accumulation_steps or 1
        later = (epoch - int(state["epochs"])) * int(batches)
        position += (int(state["pending"]) + later) // every
        return max(start, updates_of(optimizer) - int(position))

    def _after_trace(self, traced: Traced) -> list[str]:
        """Goes by the optimizer that the step applies."""
        optimizers = [tapped.optimizer for tapped in traced.optimizers]
        if not optimizers:
            reason = unseen.no_update(self.model, traced)
            return [] if reason is None else [reason]
        require_one(optimizers, self.model)
        if len(traced.applied) > 1 and self._total_steps is None:
            raise ValueError(
                "total_steps must be given to OneCycleScheduler, because the "
                f"train_step of {type(self.model).__name__} updates the weights "
                f"{len(traced.applied)} times a batch. Received: total_steps=None"
            )
        self._drive(optimizers[0])
        if self.momentum is not None and not self._warned:
            self._warned = warn_if_only_the_rate_changes(optimizers[0])
        return []

    def _cycle(self, total_steps: int) -> OneCycle:
        return OneCycle(self._max_learning_rate, total_steps, **self._options)

    def _length(self, optimizer: Any, epoch: int) -> int:
        """How many updates there are to come in this `fit`."""
        if self._total_steps is not None:
            return _arguments.count("total_steps", self._total_steps)
        batches = self.params["steps"]
        if batches is None:
            raise ValueError(
                "total_steps must be given to OneCycleScheduler, because the size of "
                "the data is unknown. Received: total_steps=None"
            )
        every = optimizer.gradient_accumulation_steps or 1
        pending = int(calls_of(optimizer)) % every
        epochs = int(self.params["epochs"]) - epoch
        return max((pending + epochs * int(batches)) // every, 1)

    def _follow(
        self, optimizer: Any, name: str, schedule: Schedule, start: int
    ) -> None:
        override(optimizer, name, lambda updates: schedule(updates - start))
        self._overridden.append((optimizer, name))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stores the position for a process that takes over."""
        super().on_epoch_end(epoch, logs)
        self._back_up(epoch + 1)

    def _back_up(self, epochs: int) -> None:
        self._epochs = epochs
        if self.schedule is not None:
            super()._back_up(epochs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Prints how much of the cycle was trained, if not all of it."""
        if self.schedule is not None:
            self._end = updates_of(self._optimizer)
        super().on_train_end(logs)
        if self._end is not None and self.schedule is not None and self.coverage < 1:
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
        """Where the cycle began, how long it is, and how far it has come."""
        assert self.schedule is not None
        every = self._optimizer.gradient_accumulation_steps or 1
        return {
            "start": self._start,
            "total_steps": self.schedule.total_steps,
            "position": updates_of(self._optimizer) - self._start,
            "pending": int(calls_of(self._optimizer)) % every,
            "epochs": self._epochs,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Continues the cycle of a process that ended, when its first epoch begins."""
        self._cycle(state["total_steps"])
        self._resumed = {**state, "start": int(state["start"])}
