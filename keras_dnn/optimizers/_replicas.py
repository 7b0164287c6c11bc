"""Replicas: the same model on several devices, each with a part of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keras_dnn._keras.call_stack import calling_model
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


def refuse_what_keras_cannot_do() -> None:
    """Raises where a model under a strategy is compiled in a way that cannot work.

    Keras would fail in the first step, with an error about placeholders or resources.
    An optimizer does not know its model, but while a step is traced the model's `fit`
    is running.
    """
    call = calling_model(compiled=True)
    if call is None:
        return
    model = call.owner
    if model.steps_per_execution != 1:
        raise ValueError(
            "steps_per_execution must be 1 under a distribution strategy. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    if model.jit_compile is True:
        raise ValueError(
            "jit_compile must be False under a distribution strategy. "
            "Received: jit_compile=True"
        )


@contextmanager
def clear_errors() -> Iterator[None]:
    """Where replicas cannot exchange tensors, raises an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if "merge_call" not in str(error):
            raise
        raise RuntimeError(
            "Replicas cannot exchange gradients inside a loop or a condition. Keras "
            "puts the step into one under a distribution strategy if the model has "
            "`steps_per_execution` above 1 or `jit_compile=True`. Compile the model "
            "with `steps_per_execution=1` and `jit_compile=False`."
        ) from error
