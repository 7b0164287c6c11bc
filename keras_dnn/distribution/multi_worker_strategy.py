"""The strategy under which Keras 3 trains on several workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from keras_dnn._keras.call_stack import MethodCall, calling_model
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn.distribution import _exchange, _lost_worker, _start_checks
from keras_dnn.distribution._shared_step import SharedStep
from keras_dnn.distribution._tf_config import check_tf_config

if TYPE_CHECKING or tf is None:
    Base: Any = object
else:
    Base = tf.distribute.MultiWorkerMirroredStrategy


class MultiWorkerStrategy(Base):
    """`tf.distribute.MultiWorkerMirroredStrategy`, with which Keras 3 can `fit`.

    The same script runs on every worker, with a `TF_CONFIG` that lists all workers and
    says which one this is; without it, training runs in one process as usual. Workers
    have the same weights; each computes the gradients of its part of every batch, and
    TensorFlow sums them. `fit` is given the batches of all workers together.

    Training equals that of one process on the same batches, up to rounding, with all
    optimizers and callbacks of this package: uneven batches are weighted by their rows,
    dropout draws another mask on each worker, and if one worker's float16 gradients
    overflow, all skip the step. What TensorFlow or Keras cannot do is refused when
    training begins.

    Create it before any other TensorFlow object. Create the model, its metrics and its
    optimizer inside `strategy.scope()`.

    Args:
        cluster_resolver: a `tf.distribute.cluster_resolver.ClusterResolver`, such as
            `SlurmClusterResolver`; `None` to read `TF_CONFIG`.

    Raises:
        ValueError: if `TF_CONFIG` does not list all workers and say which one this is.
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
        if cluster_resolver is None:
            check_tf_config(os.environ)
        super().__init__(cluster_resolver)
        self._start_unchecked = False
        _exchange.remember(self)
        _lost_worker.add_advice()

    @property
    def is_chief(self) -> bool:
        """Whether this worker is the one that writes checkpoints and logs."""
        resolver = self.cluster_resolver
        has_chief = "chief" in resolver.cluster_spec().jobs
        chief = resolver.task_type == "chief" or not has_chief
        return chief and not resolver.task_id

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        """Reduces as the base class, and two more kinds of values from Keras's trainer.

        Of a nested batch Keras needs only the shapes, so this worker's part is
        returned. Scalars, which the logs of a step contain, have no axis 0: they are
        averaged over the workers, so that callbacks decide the same on all.

        Args:
            reduce_op: `"SUM"` or `"MEAN"`.
            value: a value from each replica.
            axis: an axis to reduce as well, or `None`.

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
        """Distributes as the base class, after checking the arguments of `fit`.

        Args:
            dataset: the batches to divide among the workers.
            options: `tf.distribute.InputOptions`.

        Returns:
            The distributed dataset.
        """
        call = self._calling_model()
        if call is not None and call.method == "fit":
            _start_checks.check_model(call.owner)
            _start_checks.check_batch_size(self, call)
            _start_checks.check_seeds(self)
            self._start_unchecked = True
        return super().experimental_distribute_dataset(dataset, options)

    def run(
        self,
        fn: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        options: Any = None,
    ) -> Any:
        """Runs as the base class, with the changes that Keras's steps need.

        Args:
            fn: the step.
            args: its arguments.
            kwargs: its keyword arguments.
            options: `tf.distribute.RunOptions`.

        Returns:
            What `fn` returned on each replica.
        """
        call = self._calling_model()
        if call is None:
            return super().run(fn, args, kwargs, options)
        if self._start_unchecked:
            self._check_start(call.owner)
        step = SharedStep(call.owner)
        with step.methods_replaced():
            return super().run(step.counting_rows(fn), args, kwargs, options)

    def _check_start(self, model: keras.Model) -> None:
        """Checks once, when the first step is traced: backups are restored by then."""
        self._start_unchecked = False
        with tf.init_scope(), self.scope():
            _start_checks.check_variables(self, model)
            _start_checks.check_start(self, model)

    def _calling_model(self) -> MethodCall | None:
        return calling_model() if self.num_replicas_in_sync > 1 else None

    def _local(self, value: Any) -> Any:
        return self.experimental_local_results(value)[0]


def _all_distributed(value: Any) -> bool:
    leaves = tf.nest.flatten(value)
    return all(isinstance(leaf, tf.distribute.DistributedValues) for leaf in leaves)
