"""The step that is being traced, as the hooks of a probe see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

if TYPE_CHECKING:
    from keras_dnn.callbacks._probe.record import Entries, Record


class TrainingStep:
    """A step of `fit` while it is traced, as the hooks of a `Probe` see it.

    Every hook of the same step and probe is given the same object.

    Where a `train_step` of the user's own applies several optimizers, or one several
    times, each of these updates is a step of its own.

    Args:
        variables: the variables that the optimizers train. The `indices` of hooks are
            positions in this list.
        number: how many updates were made before this step, by all optimizers
            together, a scalar integer tensor. It is the number of the step's own
            update, counted from 0.
        owned: positions of the variables that the optimizer at hand trains; `None` for
            all.

    Attributes:
        updated: in `after_update`, whether the step has updated the weights, a scalar
            boolean tensor. It has not where a batch was only accumulated or an update
            was left out.
        notes: a dict for what one hook keeps for a later one, such as the weights
            before the update. Tensors made in `on_gradients` cannot be kept: it may be
            traced inside a condition.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import Probe
        >>> class FarthestMove(Probe):
        ...     def create(self, variables):
        ...         self.record = self.add_record(1)
        ...
        ...     def before_update(self, step):
        ...         step.notes["kernel"] = keras.ops.copy(step.variables[0])
        ...
        ...     def after_update(self, step):
        ...         move = step.variables[0] - step.notes["kernel"]
        ...         self.record.put(step, [keras.ops.max(abs(move))])
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.5), "mae")
        >>> probe = FarthestMove()
        >>> x = np.ones((4, 3))
        >>> history = model.fit(x, 9 * x[:, 0], verbose=0, callbacks=[probe])
        >>> probe.record.values
        array([[0.5]])
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        number: Tensor,
        owned: Sequence[int] | None = None,
    ) -> None:
        self.variables = variables
        self.number = number
        self.owned: Sequence[int] = range(len(variables)) if owned is None else owned
        self.updated: Tensor = None
        self.notes: dict[str, Any] = {}
        # For records alone.
        self.entries: dict[Record, Entries] = {}
        self._graph = current_graph()

    @property
    def nested(self) -> bool:
        """Whether the code that asks is traced inside a condition of the step."""
        return current_graph() is not self._graph

    def when_updated(self, function: Callable[[], object]) -> None:
        """Runs a function only if the weights were updated; for `after_update`.

        Args:
            function: what to do; it takes no arguments.
        """
        run_if(self.updated, function)


def run_if(condition: Tensor | bool, function: Callable[[], object]) -> None:
    """Runs a function for what it does to variables, if a condition holds."""
    if condition is True:
        function()
        return

    def run() -> Tensor:
        function()
        return tf.constant(0)

    tf.cond(condition, run, lambda: tf.constant(0))


def current_graph() -> Any:
    """The graph that is being traced; `None` if the code runs eagerly."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
