"""Which kernels of a model are pruned, and why the others are not."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import sublayers, sublayers_of
from keras_dnn.models._pruning.kernels import Kernel, kernels, layers_by_path, matrices

EMBEDDINGS = "embeddings_constraint"

ALTERED = "it is quantised or has a LoRA adapter"
UNSAVED = (
    "its config has no place for masks, which would not be saved with the model; name "
    "it in layers to prune it"
)
EMBEDDING = "its rows are looked up, not multiplied; name it in layers to prune it"


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is pruned and what is not.

    Attributes:
        kernels: those to prune, of the copy.
        kept: by path, why a layer is not pruned.
        unsaved: paths of the layers to prune whose masks are not saved.
    """

    kernels: list[Kernel]
    kept: dict[str, str]
    unsaved: list[str]


def to_prune(
    model: keras.Model,
    copies: Mapping[int, Any],
    layers: Sequence[str | keras.layers.Layer] | None,
) -> Selection:
    """Selects the kernels to prune in the copy of a model.

    Args:
        model: the original.
        copies: by id of each layer of the model, the one of the copy.
        layers: as for `prune`.

    Raises:
        ValueError: if there are none, or a named layer is missing or can't be pruned.
    """
    named = None if layers is None else _named(model, layers)
    found: dict[int, Kernel] = {}
    kept: dict[str, str] = {}
    unsaved: list[str] = []
    for path, layer in layers_by_path(model).items():
        if named is not None and id(layer) not in named:
            continue
        if any(map(_is_altered, sublayers(layer))):
            kept[path] = ALTERED
            continue
        prunable = kernels(copies[id(layer)]) if matrices(layer) else []
        places = {kernel.constraint_name for kernel in prunable}
        if named is None and None in places:
            kept[path] = UNSAVED
        elif named is None and EMBEDDINGS in places:
            kept[path] = EMBEDDING
        else:
            found.update((id(k.variable), k) for k in prunable)
            if None in places:
                unsaved.append(path)
    if named is not None and kept:
        path, reason = next(iter(kept.items()))
        raise ValueError(
            f"layers must name layers that can be pruned, but not {path}: {reason}. "
            f"Received: layers={layers!r}"
        )
    if not found:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in kept.items())
        raise ValueError(
            "model must have a kernel to prune"
            f"{f' ({textwrap.shorten(reasons, 300)})' if reasons else ''}. Received: "
            f"model={model.name!r}, layers={layers!r}"
        )
    return Selection(list(found.values()), kept, unsaved)


def _is_altered(layer: keras.layers.Layer) -> bool:
    # Float8 rounds what is multiplied; the kernel itself trains in full precision.
    return bool(
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None) not in (None, "float8")
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
