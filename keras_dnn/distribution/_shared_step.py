"""Training steps in which workers act together where Keras lets each act alone.

While a step runs or is traced, three public methods are replaced:

    optimizer.scale_loss              weighs each worker by its rows
    LossScaleOptimizer.check_finite   returns the same on all workers
    SeedGenerator.next                returns a different seed on each worker
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.patched import patched
from keras_dnn._replica_seeds import seed_of_replica
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

SUM = "SUM"


class SharedStep:
    """A step of a Keras model on several workers.

    Args:
        model: the model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        # Each replica of a worker runs in a thread of its own.
        self._batch = threading.local()

    @contextmanager
    def methods_replaced(self) -> Iterator[None]:
        """Replaces the three methods inside the context."""
        # A model that only predicts need not be compiled.
        optimizer = getattr(self.model, "optimizer", None)
        with ExitStack() as stack:
            if optimizer is not None:
                scale_loss = functools.partial(self._scale_loss, optimizer.scale_loss)
                stack.enter_context(patched(optimizer, "scale_loss", scale_loss))
            for cls, name, method in (
                (keras.optimizers.LossScaleOptimizer, "check_finite", _same_on_all),
                (keras.random.SeedGenerator, "next", _own_seed),
            ):
                stack.enter_context(patched(cls, name, method(getattr(cls, name))))
            yield

    def counting_rows(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, which first counts the rows of this worker's part of the batch."""

        @functools.wraps(step)
        def counting(*args: Any, **kwargs: Any) -> Any:
            first = tf.nest.flatten((args, kwargs))[0]
            self._batch.rows = tf.cast(tf.shape(first)[0], "float64")
            return step(*args, **kwargs)

        return counting

    def _scale_loss(self, scale_loss: Callable[[Tensor], Tensor], loss: Tensor) -> Any:
        replica = tf.distribute.get_replica_context()
        rows = self._batch.rows
        counts = tf.stack([rows, tf.cast(rows == 0, rows.dtype)])
        total, empty = tf.unstack(replica.all_reduce(SUM, counts))
        # Keras has divided by the number of workers. This is exactly 1 where all have
        # the same number of rows.
        weight = rows * float(replica.num_replicas_in_sync) / total
        with tf.control_dependencies(self._assert_rows_to_average(empty)):
            return scale_loss(loss * tf.cast(weight, loss.dtype))

    def _assert_rows_to_average(self, empty: Tensor) -> list[Tensor]:
        """Operations that end the step before the mean of no rows makes weights NaN."""
        if not plain_batch_norms(self.model):
            return []
        message = (
            "A batch has too few rows for the batch normalisation of each worker. "
            "Create it with synchronized=True, or leave the rest of the data out. "
            "Workers without a row:"
        )
        return [tf.debugging.Assert(empty == 0, [message, empty])]


def plain_batch_norms(model: keras.Model) -> list[keras.layers.Layer]:
    """The trainable batch norms that normalise by the rows of one worker."""
    return [
        layer
        for layer in sublayers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
    ]


def _same_on_all(check_finite: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Finite on all workers: if one skipped a step alone, the others would wait."""

    def check(optimizer: Any, grads: Any) -> Tensor:
        bad = tf.cast(~check_finite(optimizer, grads), "int32")
        replica = tf.distribute.get_replica_context()
        return replica.all_reduce(SUM, bad) == 0

    return check


def _own_seed(next_seed: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Draws a different seed on each worker."""

    def draw(generator: Any, ordered: bool = True) -> Tensor:
        return seed_of_replica(next_seed(generator, ordered))

    return draw
