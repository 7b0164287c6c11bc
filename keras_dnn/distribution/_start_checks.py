"""Checks, when training starts, for what would silently go wrong on several workers."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.call_stack import MethodCall
from keras_dnn._keras.optimizers import parts_of
from keras_dnn._tensorflow import tf
from keras_dnn.distribution import _exchange
from keras_dnn.distribution._shared_step import plain_batch_norms
from keras_dnn.optimizers import Optimizer

KERAS_BATCH_SIZE = 32
"""The default of `fit`."""

NO_SEED = tf.compat.v1.get_seed(0)[0] if tf is not None else None


def check_model(model: keras.Model) -> None:
    """Refuses what Keras's trainer cannot do under the strategy."""
    if model.steps_per_execution != 1:
        raise ValueError(
            "steps_per_execution must be 1 on several workers, since Keras runs "
            "several steps in a loop in which workers cannot exchange values. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    if model.jit_compile is True:
        raise ValueError(
            "jit_compile must be False on several workers: XLA cannot compile the "
            "exchange between them. Received: jit_compile=True"
        )
    for optimizer in _keras_optimizers(model):
        _check_keras_optimizer(optimizer)
    for layer in plain_batch_norms(model):
        warnings.warn(
            f"The batch normalisation {layer.name!r} normalises each worker's rows by "
            "their own mean and variance, and saves the chief's moving averages. "
            "Create it with synchronized=True, to train as one process would.",
            stacklevel=2,
        )


def _keras_optimizers(model: keras.Model) -> list[Any]:
    """The model's optimizers that are Keras's own."""
    return [
        optimizer
        for optimizer in parts_of(model.optimizer)
        if optimizer is not None and not isinstance(optimizer, Optimizer)
    ]


def _check_keras_optimizer(optimizer: Any) -> None:
    for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
        value = getattr(optimizer, name, None)
        in_use = name != "ema_overwrite_frequency" or optimizer.use_ema
        if value and in_use:
            raise ValueError(
                f"{name} must be None on several workers for Keras's optimizers, which "
                "exchange gradients inside a condition. Use an optimizer of "
                f"keras_dnn.optimizers instead. Received: {name}={value}"
            )
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        if getattr(optimizer, name, None):
            warnings.warn(
                f"Keras's optimizers apply {name} to each worker's gradients before "
                "they are summed, so training differs from that of one process. "
                "Optimizers of keras_dnn.optimizers clip the sum.",
                stacklevel=2,
            )


def check_batch_size(strategy: Any, fit: MethodCall) -> None:
    """Refuses batches of arrays that leave some workers without rows."""
    if not isinstance(fit.variables.get("x"), np.ndarray):
        return
    batch_size = fit.variables.get("batch_size") or KERAS_BATCH_SIZE
    workers = strategy.num_replicas_in_sync
    if batch_size < workers:
        raise ValueError(
            f"batch_size must be at least {workers}: it counts the rows of all workers "
            f"together. Received: batch_size={batch_size}"
        )


def check_seeds(strategy: Any) -> None:
    """Refuses to divide batches that each worker has shuffled in another order."""
    seed = tf.compat.v1.get_seed(0)[0]
    seeds = [int(s) for s in _exchange.from_all(strategy, np.array([seed]))[:, 0]]
    if len(set(seeds)) > 1 or seeds[0] == NO_SEED:
        found = [None if s == NO_SEED else s for s in seeds]
        raise ValueError(
            "All workers must have the same random seed, since each takes its rows "
            "from batches that it shuffles itself: with different seeds some rows "
            "would be used twice and others never. Call keras.utils.set_random_seed(n) "
            "with the same n on all workers, before the model is created. "
            f"Received: seeds={found}"
        )


def check_variables(strategy: Any, model: keras.Model) -> None:
    """Refuses variables that workers do not share."""
    for name, variable in _variables(model):
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                f"{name} must be created inside `with strategy.scope():`; otherwise "
                "each worker has its own variables. "
                f"Received: {variable.path}"
            )


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for metric in model.metrics:
        for variable in metric.variables:
            yield f"The metric {metric.name!r}", variable
    for variable in model.weights:
        yield "The model", variable
    if model.optimizer is not None:
        for variable in model.optimizer.variables:
            yield "The optimizer", variable


def check_start(strategy: Any, model: keras.Model) -> None:
    """Refuses workers that begin with different weights or at different steps."""
    digest = 0
    for variable in model.trainable_variables:
        digest = zlib.crc32(variable.numpy().tobytes(), digest)
    iterations = int(model.optimizer.iterations.numpy())
    starts = _exchange.from_all(strategy, np.array([iterations, digest]))
    if (starts != starts[0]).any():
        raise ValueError(
            "All workers must begin with the same weights at the same step. They don't "
            "after restoring a backup that only some of them can read: pass "
            "save_on_chief(BackupAndRestore(...)) to fit. Received: "
            f"iterations={starts[:, 0].tolist()}, checksums={starts[:, 1].tolist()}"
        )
