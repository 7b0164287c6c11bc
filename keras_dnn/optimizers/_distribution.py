"""Replicas: the same model on several devices, each with a share of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


def replicas() -> int:
    """How many replicas compute gradients here."""
    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else int(replica.num_replicas_in_sync)


def sum_over_replicas(gradients: list[Tensor]) -> list[Tensor]:
    """The sum of the gradients of all replicas, on each of them."""
    if replicas() == 1:
        return gradients
    replica = tf.distribute.get_replica_context()
    summed: list[Tensor] = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return summed


@contextmanager
def clear_errors() -> Iterator[None]:
    """Says what to change where replicas cannot meet."""
    try:
        yield
    except RuntimeError as error:
        if "merge_call" not in str(error):
            raise
        raise RuntimeError(
            "Replicas cannot exchange gradients inside a loop or a condition, which is "
            "what Keras makes of `steps_per_execution` and `jit_compile=True` under a "
            "distribution strategy. Compile the model with `steps_per_execution=1` and "
            "`jit_compile=False`."
        ) from error
