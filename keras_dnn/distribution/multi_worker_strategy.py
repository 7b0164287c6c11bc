"""The strategy under which Keras 3 trains on several workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn.distribution._caller import caller
from keras_dnn.distribution._step import SharedStep

if TYPE_CHECKING or tf is None:
    Base: Any = object
else:
    Base = tf.distribute.MultiWorkerMirroredStrategy


class MultiWorkerStrategy(Base):
    """TODO."""

    def __init__(self) -> None:
        require_tensorflow("keras_dnn.distribution.MultiWorkerStrategy")
        super().__init__()

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes checkpoints and logs."""
        resolver = self.cluster_resolver
        first = not resolver.task_id and resolver.task_type in (None, "chief", "worker")
        return first and not (
            resolver.task_type == "worker" and "chief" in resolver.cluster_spec().jobs
        )

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        """As in the base class, and for two values more that Keras's trainer hands it.

        Of a whole batch, nested, only the shapes are wanted: this worker's part stands
        for it. Scalars, which the logs of a step hold, have no axis 0: they are
        averaged over the workers, so that callbacks decide alike on all.

        Args:
            reduce_op: `"SUM"` or `"MEAN"`.
            value: a value from each replica.
            axis: the axis to reduce too, `None` for none.

        Returns:
            The reduced value.
        """
        mean = str(getattr(reduce_op, "value", reduce_op)).upper() == "MEAN"
        nested = tf.nest.is_nested(value)
        if mean and axis is None and nested and _all_distributed(value):
            return tf.nest.map_structure(self._local, value)
        if mean and not nested and axis == 0 and self._local(value).shape.rank == 0:
            axis = None
        return super().reduce(reduce_op, value, axis)

    def run(
        self,
        fn: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        options: Any = None,
    ) -> Any:
        """As in the base class, and what a step of Keras's must do with the others.

        Args:
            fn: the step.
            args: its arguments.
            kwargs: its keyword arguments.
            options: `tf.distribute.RunOptions`.

        Returns:
            What `fn` returned on each replica.
        """
        found = caller()
        if found is None or self.num_replicas_in_sync == 1:
            return super().run(fn, args, kwargs, options)
        step = SharedStep(found.model)
        with step.patched():
            return super().run(step.noting_rows(fn), args, kwargs, options)

    def _local(self, value: Any) -> Any:
        return self.experimental_local_results(value)[0]


def _all_distributed(value: Any) -> bool:
    leaves = tf.nest.flatten(value)
    return all(isinstance(leaf, tf.distribute.DistributedValues) for leaf in leaves)
