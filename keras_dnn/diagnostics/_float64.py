"""A copy of a model in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.losses import loss_weights_of

FLOATS = ("float16", "bfloat16", "float32", "mixed_float16", "mixed_bfloat16")


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Keras's floats are float64, for a while."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(policy)


def copied(model: keras.Model, loss: Any) -> keras.Model:
    """The model with the same weights in float64, compiled with this loss."""
    classes = {type(part).__name__: type(part) for part in sublayers(model)}
    try:
        with keras.saving.custom_object_scope(classes):
            config = keras.saving.serialize_keras_object(model)
            config.pop("compile_config", None)
            copy = keras.saving.deserialize_keras_object(_widened(config))
            if not copy.built:
                copy.build(model.input_shape)
        pairs = list(zip(copy.variables, model.variables, strict=True))
        for new, old in pairs:
            new.assign(np.asarray(keras.ops.convert_to_numpy(old.value)))
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise ValueError(
            "model must be one that Keras can make again from its configuration "
            "(get_config and from_config), for it is copied to float64. Received: "
            f"model={model!r}"
        ) from error
    for part, original in zip(sublayers(copy), sublayers(model), strict=True):
        part.trainable = original.trainable
    copy.compile(
        "sgd", loss=_loss_in_float64(loss), loss_weights=loss_weights_of(model)
    )
    return copy


def _widened(config: Any) -> Any:
    """The configuration with every type of floats replaced."""
    if isinstance(config, dict):
        return {key: _widened(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_widened(value) for value in config)
    return "float64" if isinstance(config, str) and config in FLOATS else config


def _loss_in_float64(loss: Any) -> Any:
    """Loss objects cast to the type that they were made with."""
    if isinstance(loss, dict):
        return {name: _loss_in_float64(part) for name, part in loss.items()}
    if isinstance(loss, list | tuple):
        return [_loss_in_float64(part) for part in loss]
    if isinstance(loss, keras.losses.Loss):
        config = {**loss.get_config(), "dtype": "float64"}
        try:
            return type(loss).from_config(config)
        except TypeError:
            return loss
    return loss
