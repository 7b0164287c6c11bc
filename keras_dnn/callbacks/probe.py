"""The base class of callbacks that see into the compiled training step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._keras import call_stack
from keras_dnn._keras.end_of_fit import when_fit_ends
from keras_dnn._keras.losses import own_step
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn.callbacks._only_once import require_once
from keras_dnn.callbacks._probe import unseen
from keras_dnn.callbacks._probe.record import Record, StepRows, step_variable
from keras_dnn.callbacks._probe.tap import Tap
from keras_dnn.callbacks._probe.traced import Traced
from keras_dnn.callbacks._probe.training_step import TrainingStep, run_if


class Probe(keras.callbacks.Callback):
    r"""Base class of callbacks whose hooks are traced into the training step.

    For the loss $L$ of the batch and weights $\theta_t$ a step computes

    $$
    g = \nabla L(\theta_t), \qquad \hat g = \mathrm{clip}(g), \qquad
    \theta_{t+1} = \theta_t + \Delta(\hat g)
    $$

    and the hooks see, in this order: `on_loss` $L$, `before_update` $\theta_t$,
    `on_gradients` $g$ and $\hat g$, `after_update` $\theta_{t+1}$. What they compute
    becomes part of the step's graph: it sees every step, also with `jit_compile` and
    `steps_per_execution`, with no second backward pass and no call back to Python.

    A subclass overrides the hooks it needs. It creates what it writes to in `create`,
    by `add_record` (one row of numbers for each update) and `add_variable` (a state),
    and reads it on the host whenever it likes. All hooks but `create` and `release`
    hold TensorFlow code, are called while the step is traced, perhaps more than once,
    and must not keep tensors on the probe. Methods of Keras's callbacks can be
    overridden too; they must call the method of the base class.

    Gradients are those that training really uses: unscaled under mixed precision,
    summed over replicas, averaged over accumulated micro-batches, repeated rows of an
    embedding added up. Training ends as without the probe, unless a hook changes
    something: bit for bit, but for a last bit that TensorFlow may round differently
    where a gradient is read twice. A `train_step` of the user's own is seen too.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import Probe
        >>> class LargestGradient(Probe):
        ...     def create(self, variables):
        ...         self.record = self.add_record(len(variables))
        ...
        ...     def on_gradients(self, step, indices, gradients, clipped):
        ...         largest = [keras.ops.max(abs(g)) for g in gradients]
        ...         self.record.put(step, largest, indices)
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mae")
        >>> probe = LargestGradient()
        >>> x = np.ones((8, 3))
        >>> history = model.fit(x, x[:, 0] + 9, verbose=0, callbacks=[probe])
        >>> probe.record.values
        array([[1., 1.]])
    """

    def __init__(self) -> None:
        super().__init__()
        # In warnings: a callback may use probes of its own.
        self._reported_as: str = type(self).__name__
        self._records: dict[str, tuple[Any, Record]] = {}
        self._open_rows: list[StepRows] = []

    # For a subclass to override -------------------------------------------------------

    def create(self, variables: Sequence[keras.Variable]) -> None:
        """Creates what the other hooks write to; called once in each `fit`.

        Args:
            variables: those that the optimizer trains, in the order of `indices`.
        """

    def on_loss(self, loss: Tensor) -> None:
        """Sees the loss of every batch, of all replicas together, before the update.

        A `train_step` of the user's own may differentiate several losses, such as those
        of a generator and a discriminator. It is called for each of them.

        Args:
            loss: a scalar, regularisation included.
        """

    def before_update(self, step: TrainingStep) -> None:
        """Sees the weights of every batch before the optimizer is called.

        Args:
            step: the step at hand; its `variables` hold the weights.
        """

    def on_gradients(
        self,
        step: TrainingStep,
        indices: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
    ) -> None:
        """Sees the gradients of an update that is really made.

        It may be traced inside a condition, so its tensors cannot be kept for
        `after_update`; put them into a record or a variable. With a `MultiOptimizer`
        it is called for each of its optimizers.

        Args:
            step: the step at hand.
            indices: the position of each gradient's variable in `step.variables`. A
                variable without a gradient is missing.
            gradients: before clipping, dense.
            clipped: after it.
        """

    def after_update(self, step: TrainingStep) -> None:
        """Sees the weights of every batch after the optimizer was called.

        Args:
            step: the step at hand; its `updated` says whether the weights have moved.
        """

    def release(self) -> None:
        """Restores what the probe changed outside; called when it is detached.

        It may be the garbage collector that calls, at any time, so it must not touch
        variables on a device.
        """

    # For a subclass to call -----------------------------------------------------------

    def add_record(self, width: int, *, every: int = 1, name: str = "record") -> Record:
        """A record of one row for each update; for `create`.

        The next `fit` with the same optimizer adds to the record of the same name and
        width. Another optimizer starts a new one.

        Args:
            width: how many numbers a row holds.
            every: keep the rows of each `every`-th update only.
            name: tells the records of a probe apart.

        Returns:
            The record.

        Raises:
            ValueError: if `width` or `every` is not a positive integer.
        """
        _arguments.count("width", width)
        _arguments.count("every", every)
        optimizer, record = self._records.get(name, (None, None))
        if (
            record is None
            or optimizer is not self.model.optimizer
            or (record.width, record.every) != (width, every)
        ):
            record = Record(width, every)
            self._records[name] = self.model.optimizer, record
        self._open(record._create())
        return record

    def add_variable(self, shape: Sequence[int], dtype: str = "float32") -> Tensor:
        """A variable of zeros for hooks to write, right on replicas too; for `create`.

        Args:
            shape: its shape.
            dtype: its type.

        Returns:
            A `tf.Variable`, whose `numpy()` reads it on the host. Each replica has its
            own copy; all of them must write the same value, as they do with what is
            computed from the losses, gradients and weights that hooks are given.
        """
        return step_variable(shape, dtype)

    def detach(self) -> None:
        """Takes the probe out of the training step, as the end of `fit` does."""
        if self.model is not None:
            Tap.on(self.model).detach(self)

    # Called by Keras ------------------------------------------------------------------

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Attaches the probe to the training step."""
        require_tensorflow(f"keras_dnn.callbacks.{type(self).__name__}")
        require_once(self)
        tap = Tap.on(self.model)
        # An exception in `fit` skips `on_train_end`.
        watched = when_fit_ends(self.model, partial(tap.detach, self))
        tap.attach(self)
        caller = None if watched else call_stack.callback_list()
        if caller is not None:
            # In a loop of one's own, the list of callbacks that called us lives no
            # longer than the loop. The garbage collector may be the one to find that
            # out, at any time: detaching must not touch the device.
            weakref.finalize(caller, tap.detach, self).atexit = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Warns if the hooks do not see what `fit` does, or what was set meanwhile."""
        tap = Tap.on(self.model)
        if self in tap.probes:
            for reason in unseen.after_epoch(tap):
                tap.warn([self._reported_as], reason)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Fetches rows before there are too many."""
        for rows in self._open_rows:
            rows.after_call()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Detaches the probe, fetches its last rows and frees their buffers."""
        self.detach()
        self._close()

    # Called by the tap ----------------------------------------------------------------

    def _prepare(self, variables: Sequence[keras.Variable]) -> None:
        """Calls `create` for a model with these variables."""
        self._close()  # What an interrupted `fit` left.
        self.create(variables)

    def _on_loss(self, loss: Tensor, optimizer: Any) -> None:
        """Calls `on_loss`; the optimizer is `None` where it is unknown."""
        self.on_loss(loss)

    def _optimizers(self) -> list[Any]:
        """The optimizers that the step may apply, `model.optimizer` first."""
        return [tapped.optimizer for tapped in Tap.on(self.model).optimizers]

    def _after_trace(self, traced: Traced) -> list[str]:
        """What a tracing of the step should have shown to the hooks, and has not.

        Returns:
            Sentences for a warning, that continue "GradientNorms sees ...".
        """
        own = {n for n in dir(Probe) if getattr(type(self), n) != getattr(Probe, n)}
        found = []
        if own & {"before_update", "on_gradients", "_on_clipping", "after_update"}:
            found.append(unseen.no_update(self.model, traced))
        if own & {"on_loss", "_on_loss"}:
            found.append(unseen.no_loss(self.model, traced))
        return [reason for reason in found if reason is not None]

    def _on_clipping(
        self,
        step: TrainingStep,
        indices: Sequence[int],
        gradients: Sequence[Tensor],
        clipped: Sequence[Tensor],
        updates_now: Callable[[], Tensor | bool],
    ) -> None:
        """Calls `on_gradients`, if the update is really made.

        Args:
            step: the step at hand.
            indices: the position of each gradient's variable.
            gradients: before clipping, some perhaps sparse.
            clipped: after it; the very same list if nothing is clipped.
            updates_now: whether the gradients will update the weights. Optimizers of
                this package clip between updates too, with what is accumulated so far.
        """
        if type(self).on_gradients is Probe.on_gradients:
            return

        def show() -> None:
            dense = [tf.convert_to_tensor(g) for g in gradients]
            unclipped = clipped is gradients
            self.on_gradients(
                step,
                indices,
                dense,
                dense if unclipped else [tf.convert_to_tensor(g) for g in clipped],
            )

        run_if(updates_now(), show)

    # ----------------------------------------------------------------------------------

    def _open(self, rows: StepRows) -> None:
        """Has rows written to by this `fit` and fetched in time."""
        own = own_step(self.model, "train_step")
        rows.open(self.model.steps_per_execution, 4 if own else 1)
        self._open_rows.append(rows)

    def _close(self) -> None:
        while self._open_rows:
            self._open_rows.pop().close()
