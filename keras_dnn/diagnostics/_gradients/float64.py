"""A model and its loss in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._keras.losses import has_own_loss, loss_in, loss_weights_of
from keras_dnn.models.rebuild import rebuild


@contextlib.contextmanager
def float64_by_default() -> Iterator[None]:
    """Makes float64 Keras's default, which losses follow; restores it at the end."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)


def float64_copy(model: keras.Model, loss: Any) -> keras.Model:
    """A copy of the model in float64, compiled with this loss in float64."""
    copy = rebuild(model, dtype="float64")
    if has_own_loss(model) and type(copy).compute_loss is not type(model).compute_loss:
        raise ValueError(
            f"check_gradients cannot copy the compute_loss of {type(model).__name__}. "
            "Give the functional model inside, and its loss as loss=.\n"
            f"Received: model={model.name!r}"
        )
    # A `compile` of the user's own may take other arguments.
    keras.Model.compile(
        copy, "sgd", loss=_loss_in_float64(loss), loss_weights=loss_weights_of(model)
    )
    return copy


def _loss_in_float64(loss: Any) -> Any:
    """The loss, or a structure of losses; an object has a dtype of its own."""
    if isinstance(loss, dict):
        return {name: _loss_in_float64(part) for name, part in loss.items()}
    if isinstance(loss, list | tuple):
        return [_loss_in_float64(part) for part in loss]
    if isinstance(loss, keras.losses.Loss):
        return loss_in(loss, "float64")
    return loss
