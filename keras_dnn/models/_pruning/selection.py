"""Which kernels of a model are pruned, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import sublayers, sublayers_of
from keras_dnn.models._pruning.kernels import Kernel, kernels, layers_by_path, matrices

EMBEDDINGS = "embeddings_constraint"

ALTERED = "it is quantised or has a LoRA adapter"
UNSAVED = "its config has no place for masks, which would be lost when it is saved"
EMBEDDING = "its rows are looked up, not multiplied; name it in layers to prune it"


def to_prune(
    model: keras.Model,
    pruned: keras.Model,
    layers: Sequence[str | keras.layers.Layer] | None,
) -> tuple[list[Kernel], dict[str, str]]:
    """The kernels to prune in the copy, and why other layers are not pruned.

    Raises:
        ValueError: if there are none, or a named layer is missing or can't be pruned.
    """
    named = None if layers is None else _named(model, layers)
    found: dict[int, Kernel] = {}
    unpruned: dict[str, str] = {}
    copies = layers_by_path(pruned)
    for path, layer in layers_by_path(model).items():
        if named is not None and id(layer) not in named:
            continue
        prunable = kernels(copies[path])
        if any(map(_is_altered, sublayers(layer))):
            unpruned[path] = ALTERED
        elif len(prunable) < len(matrices(layer)):
            unpruned[path] = UNSAVED
        elif named is None and any(k.constraint_name == EMBEDDINGS for k in prunable):
            unpruned[path] = EMBEDDING
        else:
            found.update((id(k.variable), k) for k in prunable)
    if named is not None and unpruned:
        path, reason = next(iter(unpruned.items()))
        raise ValueError(
            f"layers must name layers that can be pruned, but not {path}: {reason}. "
            f"Received: layers={layers!r}"
        )
    if not found:
        raise ValueError(
            "model must have a kernel to prune. Received: "
            f"model={model.name!r}, layers={layers!r}"
        )
    return list(found.values()), unpruned


def _is_altered(layer: keras.layers.Layer) -> bool:
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
    )


def _named(model: keras.Model, layers: Sequence[str | keras.layers.Layer]) -> set[int]:
    """The ids of the layers named, and of the layers in the models named."""
    every = layers_by_path(model)
    ids: set[int] = set()
    for choice in _arguments.several("layers", layers):
        inside = {id(layer) for layer in sublayers_of(model, choice)}
        chosen = {
            id(layer)
            for path, layer in every.items()
            if matrices(layer) and (path == choice or id(layer) in inside)
        }
        if not chosen:
            raise ValueError(
                "layers must name layers of the model with kernels, of "
                f"{[path for path in every if matrices(every[path])]}. "
                f"Received: layers={layers!r}"
            )
        ids |= chosen
    return ids
