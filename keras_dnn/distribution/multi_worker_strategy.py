"""The strategy under which Keras 3 trains on several workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn.distribution import _chief, _guards, _lost_worker
from keras_dnn.distribution._caller import Caller, caller
from keras_dnn.distribution._step import SharedStep

if TYPE_CHECKING or tf is None:
    Base: Any = object
else:
    Base = tf.distribute.MultiWorkerMirroredStrategy


class MultiWorkerStrategy(Base):
    """`tf.distribute.MultiWorkerMirroredStrategy`, with which Keras 3 can `fit`.

    The same script runs on every worker, with a `TF_CONFIG` that says where all are and
    which one it is; without one it is an ordinary training in one process. Workers hold
    the same weights; each computes the gradients of its share of every batch, and the
    engine sums them. What `fit` is given is the batch of all workers together.

    Training is that of one process on the same batches, up to rounding, with all
    optimizers and callbacks of this package: uneven batches weigh by their rows,
    dropout has its own mask on each worker, and if one worker's float16 gradients
    overflow, all skip the step. What the engine or Keras cannot do is refused when
    training begins.

    Create it before anything else of TensorFlow's. The model, its metrics and its
    optimizer belong inside `strategy.scope()`.

    Args:
        cluster_resolver: a `tf.distribute.cluster_resolver.ClusterResolver`, such as
            `SlurmClusterResolver`; `None` to read `TF_CONFIG`.

    Raises:
        RuntimeError: if Keras does not run on TensorFlow.

    Example:
        >>> from pathlib import Path
        >>> from keras_dnn.distribution import launch
        >>> script = Path("train.py")
        >>> _ = script.write_text('''
        ... import keras, numpy as np
        ... from keras_dnn.distribution import MultiWorkerStrategy
        ...
        ... strategy = MultiWorkerStrategy()
        ... keras.utils.set_random_seed(1)
        ... with strategy.scope():
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile("sgd", "mse")
        ... model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, verbose=0)
        ... ''')
        >>> launch(script, workers=2, log_dir="logs")
        [0, 0]
    """

    def __init__(self, cluster_resolver: Any = None) -> None:
        require_tensorflow("keras_dnn.distribution.MultiWorkerStrategy")
        super().__init__(cluster_resolver)
        self._start_unchecked = False
        _chief.remember(self)
        _lost_worker.explain()

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes checkpoints and logs."""
        resolver = self.cluster_resolver
        has_chief = "chief" in resolver.cluster_spec().jobs
        chief = resolver.task_type == "chief" or not has_chief
        return chief and not resolver.task_id

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

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """As in the base class, after a look at what `fit` was given.

        Args:
            dataset: whose batches are cut up among the workers.
            options: `tf.distribute.InputOptions`.

        Returns:
            The distributed dataset.
        """
        found = self._caller()
        if found is not None and found.method == "fit":
            _guards.check_model(found.model)
            if found.batch_size is not None:
                _guards.check_batches(self, found.batch_size)
            _guards.check_seeds(self)
            self._start_unchecked = True
        return super().experimental_distribute_dataset(dataset, options)

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
        found = self._caller()
        if found is None:
            return super().run(fn, args, kwargs, options)
        if self._start_unchecked:
            self._check_start(found)
        step = SharedStep(found.model)
        with step.patched():
            return super().run(step.noting_rows(fn), args, kwargs, options)

    def _check_start(self, found: Caller) -> None:
        """Once a process, when the first step is traced: backups are restored then."""
        self._start_unchecked = False
        with tf.init_scope(), self.scope():
            _guards.check_variables(self, found.model)
            _guards.check_start(self, found.model)

    def _caller(self) -> Caller | None:
        return caller() if self.num_replicas_in_sync > 1 else None

    def _local(self, value: Any) -> Any:
        return self.experimental_local_results(value)[0]


def _all_distributed(value: Any) -> bool:
    leaves = tf.nest.flatten(value)
    return all(isinstance(leaf, tf.distribute.DistributedValues) for leaf in leaves)
