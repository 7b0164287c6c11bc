"""The layers inside a layer, which Keras lists in a private method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def sublayers(layer: Any) -> Iterator[keras.layers.Layer]:
    """The layer itself, if it is one, and all layers inside it, each once."""
    if isinstance(layer, keras.layers.Layer):
        seen: set[int] = set()
        for sublayer in layer._flatten_layers(include_self=True, recursive=True):
            if id(sublayer) not in seen:
                seen.add(id(sublayer))
                yield sublayer
