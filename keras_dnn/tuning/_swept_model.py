"""The model of a sweep: which optimizers its step may apply, and its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_dnn._batches import symbolic_inputs
from keras_dnn._interrupts import interrupts_held
from keras_dnn._keras.layers import is_complete
from keras_dnn._keras.losses import own_step
from keras_dnn._keras.optimizers import innermost, optimizers_within, parts_of
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_training
from keras_dnn.optimizers._override import override, put_back, updates_of
from keras_dnn.tuning._sweep_recorder import SweepRecorder


def optimizers_of(model: keras.Model) -> list[Any]:
    """The optimizers of a compiled model that its training step may apply."""
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(f"model must be compiled. Received: model={model}")
    found = [model.optimizer]
    if own_step(model, "train_step"):
        found = list(optimizers_within(model).values())
    single = [innermost(o) for o in found if parts_of(o) == [innermost(o)]]
    if not single:
        raise ValueError(
            "model must have one optimizer, not a MultiOptimizer. "
            f"Received: model.optimizer={model.optimizer}"
        )
    return single


def build(model: keras.Model, x: Any) -> None:
    """Builds a model by these inputs, if it is not built yet.

    Args:
        model: the model.
        x: the inputs of `fit`.
    """
    if is_complete(model):
        return
    try:
        model(symbolic_inputs(x))
    except NotImplementedError as error:
        raise ValueError(
            "model must be built: start each model in it with keras.Input, or give it "
            f"a call method. Received: model={model.name!r}"
        ) from error


@contextmanager
def following(
    optimizers: list[Any], rate_after: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Has optimizers follow a rate for a while.

    Which of them a step of the user's own applies is known only when it is traced.

    Args:
        optimizers: the optimizers.
        rate_after: the rate, by how many updates there were since the beginning.
    """

    def follow(optimizer: Any) -> None:
        start = updates_of(optimizer)
        override(optimizer, "learning_rate", lambda done: rate_after(done - start))

    try:
        for optimizer in optimizers:
            follow(optimizer)
        yield
    finally:
        with interrupts_held():
            for optimizer in optimizers:
                put_back(optimizer, "learning_rate")


def train(
    model: keras.Model,
    optimizers: list[Any],
    fit: dict[str, Any],
    recorder: SweepRecorder,
    rate_after: Callable[[Tensor], Tensor],
) -> None:
    """Trains a model until the recorder ends it, and puts everything back.

    Args:
        model: a compiled model that is built.
        optimizers: the optimizers that its step may apply.
        fit: the arguments of `fit`.
        recorder: records the losses.
        rate_after: the rate, by how many updates there were since the beginning.
    """
    with unchanged_by_training(model), following(optimizers, rate_after):
        try:
            model.fit(**fit, callbacks=[recorder], verbose=0, shuffle=False)
        finally:
            with interrupts_held():
                # An exception in `fit` skips `on_train_end`.
                recorder.detach()
                recorder.progress.stop()
