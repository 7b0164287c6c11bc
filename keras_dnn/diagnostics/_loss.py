"""What is known of a model's losses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras

from keras_dnn._keras.graph import output_layers

CROSSENTROPIES = {
    "sparse_categorical_crossentropy": "softmax",
    "categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
}
"""The losses that want probabilities, and the activation that gives such."""

DISTANCES = (
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "log_cosh",
)


@dataclasses.dataclass(frozen=True)
class Loss:
    """The loss of one output.

    Attributes:
        name: Keras's name of the function, such as `"mean_squared_error"`.
        from_logits: whether it takes logits.
        activation: name of the output's activation; `None` if it can't be told.
        layer: path of the output's layer.
        classes: the size of the output's last axis.
    """

    name: str
    from_logits: bool
    activation: str | None
    layer: str | None
    classes: int | None


def loss_of(model: keras.Model) -> list[Loss]:
    """The losses in the order of the outputs; empty where that can't be told."""
    given = model.loss
    if isinstance(given, dict):
        names = getattr(model, "output_names", [])
        given = [given.get(name) for name in names]
    final = output_layers(model)
    losses = list(given) if isinstance(given, list | tuple) else [given]
    if len(losses) == 1 and len(final) > 1:
        losses *= len(final)
    if len(final) not in (0, len(losses)):
        return []
    pairs = zip(losses, final or [None] * len(losses), strict=True)
    return [_loss(loss, layer) for loss, layer in pairs]


def guess_of(losses: list[Loss]) -> float:
    """The loss of a classifier that guesses; NaN where that can't be told."""
    if len(losses) != 1 or losses[0].name not in CROSSENTROPIES:
        return math.nan
    binary = losses[0].name == "binary_crossentropy"
    return math.log(2 if binary else losses[0].classes or 1) or math.nan


def _loss(loss: Any, layer: Any) -> Loss:
    if loss is not None:
        loss = keras.losses.get(loss)
    function = getattr(loss, "fn", loss)
    options = getattr(loss, "_fn_kwargs", {})
    name = getattr(function, "__name__", "") or type(loss).__name__
    return Loss(
        name,
        bool(options.get("from_logits", False)),
        _activation(layer),
        getattr(layer, "path", None) or getattr(layer, "name", None),
        _classes(layer),
    )


def _activation(layer: Any) -> str | None:
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None)


def _classes(layer: Any) -> int | None:
    try:
        size = keras.tree.flatten(layer.output)[0].shape[-1]
    except (AttributeError, ValueError, IndexError):
        return None
    return None if size is None else int(size)
