"""Which kernels of a model are pruned, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import sublayers, sublayers_of
from keras_dnn.models._pruning.kernels import Kernel, kernels, layers_by_path, matrices

EMBEDDINGS = "embeddings_constraint"

ALTERED = "it is quantised or has a LoRA"
UNSAVED = "its config has no place for masks, which would be lost when it is saved"
EMBEDDING = "its rows are looked up, not multiplied by; name it in layers to prune it"


def to_prune(
    model: keras.Model,
    pruned: keras.Model,
    layers: Sequence[str | keras.layers.Layer] | None,
) -> tuple[list[Kernel], dict[str, str]]:
    """The kernels to prune in the copy, and why those of other layers are not.

    Raises:
        ValueError: if there are none, or a named layer is absent or can't be pruned.
    """
    named = None if layers is None else _named(model, layers)
    found: dict[int, Kernel] = {}
    kept: dict[str, str] = {}
    copies = layers_by_path(pruned)
    for path, layer in layers_by_path(model).items():
        if named is not None and id(layer) not in named:
            continue
        prunable = kernels(copies[path])
        if any(map(_is_altered, sublayers(layer))):
            kept[path] = ALTERED
        elif len(prunable) < len(matrices(layer)):
            kept[path] = UNSAVED
        elif named is None and any(k.name == EMBEDDINGS for k in prunable):
            kept[path] = EMBEDDING
        else:
            found.update((id(k.variable), k) for k in prunable)
    if named is not None and kept:
        path, reason = next(iter(kept.items()))
        raise ValueError(
            f"layers must name layers that can be pruned; {path} stays: {reason}. "
            f"Received: layers={layers!r}"
        )
    if not found:
        raise ValueError(
            "model must have a kernel to prune. Received: "
            f"model={model.name!r}, layers={layers!r}"
        )
    return list(found.values()), kept


def _is_altered(layer: keras.layers.Layer) -> bool:
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
    )


def _named(model: keras.Model, layers: Any) -> set[int]:
    """The ids of the layers of these names, and of those in the models so named."""
    every = layers_by_path(model)
    named: set[int] = set()
    for choice in _arguments.several("layers", layers):
        inside = {id(layer) for layer in sublayers_of(model, choice)}
        meant = {
            id(layer)
            for path, layer in every.items()
            if matrices(layer) and (path == choice or id(layer) in inside)
        }
        if not meant:
            raise ValueError(
                "layers must name layers of the model with kernels, of "
                f"{[path for path in every if matrices(every[path])]}. "
                f"Received: layers={layers!r}"
            )
        named |= meant
    return named
