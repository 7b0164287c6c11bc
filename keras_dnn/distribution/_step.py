"""What Keras's step leaves to each worker, and all must do together.

While a step runs, or is traced, three public methods are other ones:

    optimizer.scale_loss              weighs a worker by its rows, not as one of many
    LossScaleOptimizer.check_finite   is what all workers agree on
    SeedGenerator.next                gives each worker a seed of its own
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

SUM = "SUM"
STRIDE = 0x9E3779B1
"""Between the seeds of workers; far from those of one worker's successive draws."""


class SharedStep:
    """A step of a Keras model that several workers make together.

    Args:
        model: whose step it is.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        # Each replica of a worker runs in a thread of its own.
        self._batch = threading.local()

    @contextmanager
    def patched(self) -> Iterator[None]:
        """The methods are other ones in here."""
        # A model that only predicts need not be compiled.
        optimizer = getattr(self.model, "optimizer", None)
        with ExitStack() as stack:
            if optimizer is not None:
                scale_loss = functools.partial(self._scale_loss, optimizer.scale_loss)
                stack.enter_context(
                    mock.patch.dict(vars(optimizer), scale_loss=scale_loss)
                )
            for cls, name, method in (
                (keras.optimizers.LossScaleOptimizer, "check_finite", _agreed),
                (keras.random.SeedGenerator, "next", _own_seed),
            ):
                stack.enter_context(
                    mock.patch.object(cls, name, method(getattr(cls, name)))
                )
            yield

    def noting_rows(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step, which now knows how many rows this worker holds."""

        @functools.wraps(step)
        def noting(*args: Any, **kwargs: Any) -> Any:
            first = tf.nest.flatten((args, kwargs))[0]
            self._batch.rows = tf.cast(tf.shape(first)[0], "float64")
            return step(*args, **kwargs)

        return noting

    def _scale_loss(self, scale_loss: Callable[[Tensor], Tensor], loss: Tensor) -> Any:
        replica = tf.distribute.get_replica_context()
        rows = self._batch.rows
        counts = tf.stack([rows, tf.cast(rows == 0, rows.dtype)])
        total, empty = tf.unstack(replica.all_reduce(SUM, counts))
        # Keras has divided by the count of workers; exactly 1 where rows are equal.
        share = rows * float(replica.num_replicas_in_sync) / total
        with tf.control_dependencies(self._no_mean_of_nothing(empty)):
            return scale_loss(loss * tf.cast(share, loss.dtype))

    def _no_mean_of_nothing(self, empty: Tensor) -> list[Tensor]:
        """Ends the step on all workers before all weights are NaN."""
        if not plain_batch_norms(self.model):
            return []
        message = (
            "A batch has too few rows for the batch normalisation of each worker. "
            "Create it with synchronized=True, or leave the rest of the data out. "
            "Workers without a row:"
        )
        return [tf.debugging.Assert(empty == 0, [message, empty])]


def plain_batch_norms(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that normalise by the rows of one worker."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
    ]


def _agreed(check_finite: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Finite on all workers: one that skips alone would leave the others waiting."""

    def check(optimizer: Any, grads: Any) -> Tensor:
        bad = tf.cast(~check_finite(optimizer, grads), "int32")
        replica = tf.distribute.get_replica_context()
        return replica.all_reduce(SUM, bad) == 0

    return check


def _own_seed(next_seed: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The seed that all workers share, moved on by the number of this one.

    The first word moves: the second counts draws, and by it a worker would repeat the
    masks that another one had a step before.
    """

    def draw(generator: Any, ordered: bool = True) -> Tensor:
        seed = next_seed(generator, ordered)
        replica = tf.distribute.get_replica_context()
        if replica is None:
            return seed
        number = tf.cast(replica.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([number * STRIDE, tf.zeros_like(number)])

    return draw
