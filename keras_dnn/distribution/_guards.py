"""What would go wrong without a word on several workers, said at the start."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn.distribution import _chief
from keras_dnn.distribution._step import plain_batch_norms
from keras_dnn.optimizers import Optimizer

UNSET = tf.compat.v1.get_seed(0)[0] if tf is not None else None


def check_model(model: keras.Model) -> None:
    """Refuses what Keras's trainer cannot do under the strategy."""
    if model.steps_per_execution != 1:
        raise ValueError(
            "steps_per_execution must be 1 on several workers, for Keras runs several "
            "steps in a loop in which workers cannot meet. "
            f"Received: steps_per_execution={model.steps_per_execution}"
        )
    if model.jit_compile is True:
        raise ValueError(
            "jit_compile must be False on several workers: XLA cannot compile the "
            "exchange between them. Received: jit_compile=True"
        )
    for optimizer in _theirs(model):
        _check_keras_optimizer(optimizer)
    for layer in plain_batch_norms(model):
        warnings.warn(
            f"The batch normalisation {layer.name!r} takes the mean and variance of "
            "each worker's rows for themselves, and the moving ones that are saved are "
            "the chief's. Create it with synchronized=True, to train as one process "
            "would.",
            stacklevel=2,
        )


def _theirs(model: keras.Model) -> list[Any]:
    """Optimizers of Keras's own."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    several = getattr(optimizer, "optimizers", [optimizer])
    return [o for o in several if o is not None and not isinstance(o, Optimizer)]


def _check_keras_optimizer(optimizer: Any) -> None:
    for name in ("gradient_accumulation_steps", "ema_overwrite_frequency"):
        value = getattr(optimizer, name, None)
        averages = name != "ema_overwrite_frequency" or optimizer.use_ema
        if value and averages:
            raise ValueError(
                f"{name} must be None on several workers for an optimizer of Keras, "
                "which exchanges gradients inside a condition. Those of "
                f"keras_dnn.optimizers can do it. Received: {name}={value}"
            )
    for name in ("clipnorm", "global_clipnorm", "clipvalue"):
        if getattr(optimizer, name, None):
            warnings.warn(
                f"An optimizer of Keras applies {name} to each worker's gradients "
                "before they are summed, so training differs from that of one process. "
                "Those of keras_dnn.optimizers clip the sum.",
                stacklevel=2,
            )


def check_batches(strategy: Any, batch_size: int) -> None:
    """Refuses batches of which some workers would get nothing."""
    workers = strategy.num_replicas_in_sync
    if batch_size < workers:
        raise ValueError(
            f"batch_size must be at least {workers}: it is that of all workers "
            f"together. Received: batch_size={batch_size}"
        )


def check_seeds(strategy: Any) -> None:
    """Refuses to cut up batches that each worker has shuffled in another order."""
    seed = tf.compat.v1.get_seed(0)[0]
    seeds = [int(s) for s in _chief.from_all(strategy, np.array([seed]))[:, 0]]
    if len(set(seeds)) > 1 or seeds[0] == UNSET:
        found = [None if s == UNSET else s for s in seeds]
        raise ValueError(
            "All workers must have the same random seed, for each takes its rows out "
            "of batches that it shuffles itself: with other seeds rows would be seen "
            "twice or never. Call keras.utils.set_random_seed(n) with the same n on "
            f"all, before the model is created. Received: seeds={found}"
        )


def check_variables(strategy: Any, model: keras.Model) -> None:
    """Refuses variables that are not the workers' together."""
    for name, variable in _variables(model):
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                f"{name} must be created inside `with strategy.scope():`, or each "
                f"worker has its own and shows its own value. Received: {variable.path}"
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
    """Refuses to train where workers begin with other weights, or elsewhere."""
    digest = 0
    for variable in model.trainable_variables:
        digest = zlib.crc32(variable.numpy().tobytes(), digest)
    iterations = int(model.optimizer.iterations.numpy())
    starts = _chief.from_all(strategy, np.array([iterations, digest]))
    if (starts != starts[0]).any():
        raise ValueError(
            "All workers must begin with the same weights at the same step. A backup "
            "that only some of them can read gives others: pass "
            "save_on_chief(BackupAndRestore(...)) to fit. Received: "
            f"iterations={starts[:, 0].tolist()}, checksums={starts[:, 1].tolist()}"
        )
