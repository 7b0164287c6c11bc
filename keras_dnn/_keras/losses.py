"""What Keras's losses and the training step keep private."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras

from keras_dnn._keras.layers import has_training_argument
from keras_dnn._keras.masks import mask_of
from keras_dnn._typing import Tensor

WRITTEN_BY_FIT = ("history", "stop_training", "train_function", "_initial_epoch")
"""Attributes that `fit` leaves on a model, besides its variables."""


def loss_options(loss: Any) -> Mapping[str, Any]:
    """The arguments, such as `from_logits`, that a loss passes to its function."""
    options: Mapping[str, Any] = getattr(loss, "_fn_kwargs", {})
    return options


def loss_in(loss: keras.losses.Loss, dtype: str) -> keras.losses.Loss:
    """The same loss in another dtype; the loss itself if its config makes none."""
    try:
        copy: keras.losses.Loss = type(loss).from_config(
            {**loss.get_config(), "dtype": dtype}
        )
    except TypeError:
        return loss
    return copy


def loss_weights_of(model: keras.Model) -> Any:
    """What `compile` was given as `loss_weights`."""
    return getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)


def total_loss(
    model: keras.Model,
    x: Any,
    y: Any,
    y_pred: Any,
    sample_weight: Any,
    *,
    training: bool,
) -> Tensor:
    """The loss of a batch, penalties included, as the steps of Keras compute it.

    Args:
        model: a compiled model, whose `compute_loss` may be overridden, also by one
            that knows no `training`.
        x: the inputs.
        y: the targets, or `None`.
        y_pred: the outputs.
        sample_weight: of the examples, or `None`.
        training: whether it is the loss in training mode.
    """
    return model._compute_loss(x, y, y_pred, sample_weight, training=training)


def data_loss(model: keras.Model, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
    """The loss that a model was compiled with, without penalties.

    Args:
        model: a compiled model.
        y: the targets.
        y_pred: outputs, of this model or other ones.
        sample_weight: of the examples, or `None`.
    """
    return model._compile_loss(y, y_pred, sample_weight)


def call_of(model: keras.Model, x: Any, *, training: bool) -> Any:
    """The outputs for a batch; a `call` may know no `training`."""
    return model(x, training=training) if has_training_argument(model) else model(x)


def own_step(model: keras.Model, name: str) -> bool:
    """Whether a model has a `train_step` or `test_step` that is not Keras's own.

    Args:
        model: the model.
        name: `"train_step"` or `"test_step"`.
    """
    inherited = getattr(keras.Model, name)
    method = vars(model).get(name, getattr(type(model), name))
    # A probe puts a method of its own in front of the model's.
    method = getattr(getattr(method, "__self__", None), "replaced_step", method)
    return getattr(method, "__func__", method) is not inherited


def has_own_loss(model: keras.Model) -> bool:
    """Whether a model's class has a `compute_loss` of its own."""
    return type(model).compute_loss is not keras.Model.compute_loss


def needs_targets(model: keras.Model) -> bool:
    """Whether the loss of a compiled model takes targets beside the inputs."""
    return model.loss is not None and not has_own_loss(model)


def require_loss_outside_step(model: keras.Model, task: str) -> None:
    """Raises an error where only the model's `train_step` knows what its loss is.

    Args:
        model: a compiled model.
        task: what needs the loss.
    """
    if loss_is_in_step(model):
        name = type(model).__name__
        parts = [n for n, part in vars(model).items() if isinstance(part, keras.Model)]
        inside = f" (.{', .'.join(parts)})" if parts else ""
        raise ValueError(
            f"{task} cannot compute the loss of {name}, which is in its train_step. "
            "Give the loss to compile(loss=), or write it as compute_loss and let "
            f"train_step call that, or give the functional model inside{inside}.\n"
            f"Received: model={model.name!r}"
        )


def loss_is_in_step(model: keras.Model) -> bool:
    """Whether only the `train_step` of the model itself knows what its loss is."""
    if model.loss is not None or has_own_loss(model):
        return False
    if not own_step(model, "train_step"):
        return False
    step = getattr(type(model).train_step, "__code__", None)
    used = getattr(step, "co_names", ())
    # It may call the loss of Keras, which adds up what layers give to `add_loss`.
    return not {"compute_loss", "_compute_loss"}.intersection(used) and not (
        "train_step" in used and "super" in used
    )


def loss_tracker_of(model: keras.Model) -> keras.metrics.Metric:
    """The metric that holds the running mean of a compiled model's loss."""
    tracker: keras.metrics.Metric = model._loss_tracker
    return tracker


def direction_of(metric: Any) -> str | None:
    """Whether a metric should go `"up"` or `"down"`; `None` where it does not say."""
    direction: str | None = getattr(metric, "_direction", None)
    return direction


def reduced(
    values: Tensor,
    y_pred: Tensor,
    sample_weight: Tensor | None,
    reduction: str | None,
    dtype: Any,
) -> Tensor:
    """The loss of each example as one number, as every loss of Keras reduces it.

    Args:
        values: of each example; they may carry a mask.
        y_pred: the outputs, which may carry a mask too.
        sample_weight: of each example, or `None`.
        reduction: of the loss.
        dtype: of the result.
    """
    masks = [m for m in (mask_of(y_pred), mask_of(values)) if m is not None]
    return keras.src.losses.loss.reduce_weighted_values(
        values,
        sample_weight=sample_weight,
        mask=functools.reduce(keras.ops.logical_and, masks) if masks else None,
        reduction=reduction,
        dtype=dtype,
    )


def note(tensor: Tensor, name: str, value: Any) -> None:
    """Attaches a value to a tensor, on any backend, as Keras attaches a mask."""
    keras.src.backend.common.tensor_attributes.set_tensor_attr(tensor, name, value)


def noted(tensor: Tensor, name: str) -> Any:
    """The value attached to a tensor; `None` if it was computed from that one since."""
    return keras.src.backend.common.tensor_attributes.get_tensor_attr(tensor, name)
