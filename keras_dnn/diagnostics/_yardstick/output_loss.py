"""What is known of the loss of each of a model's outputs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import output_layers, source_of
from keras_dnn._keras.losses import loss_options
from keras_dnn._layer_kinds import IDENTITIES, REARRANGEMENTS

layers = keras.layers

TRANSPARENT = (*IDENTITIES, *REARRANGEMENTS)
"""Layers that leave each number as it is."""

CROSSENTROPIES = {
    "sparse_categorical_crossentropy": "softmax",
    "categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
}
"""The losses that expect probabilities, and the activation that gives them."""

DISTANCES = (
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "log_cosh",
)

ERRORS = (
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "poisson",
)
"""Other losses that compare outputs with targets, number by number."""


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """The loss of one output.

    Attributes:
        name: Keras's name of the function, such as `"mean_squared_error"`.
        from_logits: whether it expects logits.
        activation: name of the output's activation; `None` if unknown.
        layer: path of the output's layer; `None` if unknown.
        classes: the size of the output's last axis; `None` if unknown.
        ignored: the label that the loss ignores, its `ignore_class`.
        label_smoothing: how much of each label it spreads over all classes.
    """

    name: str
    from_logits: bool
    activation: str | None
    layer: str | None
    classes: int | None
    ignored: int | None = None
    label_smoothing: float = 0.0

    @property
    def uninformed(self) -> float:
        """The crossentropy of equal probabilities for one label; 0 for other losses."""
        wanted = CROSSENTROPIES.get(self.name)
        if wanted is None:
            return 0.0
        return math.log(max(2, self.classes or 2) if wanted == "softmax" else 2)

    @property
    def takes_numbers(self) -> bool:
        """Whether the targets are what the outputs should be."""
        return self.name in (*DISTANCES, *ERRORS, "binary_crossentropy") and (
            not self.from_logits
        )

    def labels_in(self, targets: np.ndarray) -> np.ndarray:
        """The targets that the loss does not ignore, in one row."""
        flat = targets.reshape(-1)
        return flat if self.ignored is None else flat[flat != self.ignored]


def output_losses(model: keras.Model) -> list[OutputLoss]:
    """The losses in the order of the outputs; empty where that is unknown."""
    given = model.loss
    if isinstance(given, dict):
        names = getattr(model, "output_names", [])
        given = [given.get(name) for name in names]
    outputs = output_layers(model)
    losses = list(given) if isinstance(given, list | tuple) else [given]
    if len(losses) == 1 and len(outputs) > 1:
        losses *= len(outputs)
    if len(outputs) not in (0, len(losses)):
        return []
    pairs = zip(losses, outputs or [None] * len(losses), strict=True)
    found = [_output_loss(loss, layer) for loss, layer in pairs]
    tensors = (getattr(model, "outputs", None) or []) if outputs else []
    if len(tensors) != len(found):
        return found
    # A layer that is called several times may have outputs of several sizes.
    return [
        dataclasses.replace(one, classes=tensor.shape[-1] if tensor.shape else None)
        for one, tensor in zip(found, tensors, strict=True)
    ]


def in_order(model: keras.Model, parts: Any, count: int) -> list[Any] | None:
    """One part of the targets, or of the weights, for each output in their order.

    Args:
        model: the model.
        parts: a structure like that of the outputs, or one for all of them.
        count: how many outputs there are.

    Returns:
        A list, whose entries may be `None`; `None` where the parts do not fit.
    """
    if isinstance(parts, dict):
        names = getattr(model, "output_names", None) or sorted(parts)
        found = [parts.get(name) for name in names]
    elif isinstance(parts, list | tuple):
        found = keras.tree.flatten(parts)
    else:
        found = [parts] * count
    return found if len(found) == count else None


def guess_loss(losses: list[OutputLoss]) -> float:
    """The loss of a classifier that guesses; NaN where that is unknown."""
    if len(losses) != 1 or losses[0].name not in CROSSENTROPIES:
        return math.nan
    binary = losses[0].name == "binary_crossentropy"
    return math.log(2 if binary else losses[0].classes or 1) or math.nan


def _output_loss(loss: Any, layer: keras.layers.Layer | None) -> OutputLoss:
    if loss is not None:
        loss = keras.losses.get(loss)
    function = getattr(loss, "fn", loss)
    name = getattr(function, "__name__", "") or type(loss).__name__
    return OutputLoss(
        name,
        bool(loss_options(loss).get("from_logits", False)),
        _activation(layer),
        getattr(layer, "path", None) or getattr(layer, "name", None),
        _classes(layer),
        loss_options(loss).get("ignore_class"),
        float(loss_options(loss).get("label_smoothing") or 0.0),
    )


def _activation(layer: Any) -> str | None:
    """The name of what is applied last, before layers that copy or rearrange."""
    for _ in range(20):
        is_linear = (
            isinstance(layer, layers.Activation)
            and layer.activation is keras.activations.linear
        )
        before = source_of(layer) if is_linear or type(layer) in TRANSPARENT else None
        if before is None:
            break
        layer = before
    if isinstance(layer, layers.Softmax):
        return "softmax"
    if isinstance(layer, layers.ReLU):
        plain = layer.max_value is None and not layer.negative_slope
        return "relu" if plain and not layer.threshold else None
    if isinstance(layer, layers.Layer):
        activation = getattr(layer, "activation", None)
        return getattr(activation, "__name__", None)
    # An operation, such as keras.ops.softmax(x).
    name = type(layer).__name__.lower()
    return name if name in ("softmax", "sigmoid", "tanh", "relu", "softplus") else None


def _classes(layer: Any) -> int | None:
    try:
        size = keras.tree.flatten(layer.output)[0].shape[-1]
    except (AttributeError, ValueError, IndexError):
        return None
    return None if size is None else int(size)
