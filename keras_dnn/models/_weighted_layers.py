"""The layers of a model that have weights, those of nested models separately."""

from __future__ import annotations

from collections.abc import Iterator

import keras

from keras_dnn._keras.layers import sublayers


def containers(model: keras.Model) -> Iterator[keras.Model]:
    """The model and its nested models, each before the models inside it."""
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from containers(layer)


def weighted_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that have weights, each once, the first one first.

    A layer that contains others, such as an attention layer, counts as one.
    """
    found: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        inner = weighted_layers(layer) if isinstance(layer, keras.Model) else [layer]
        found.update((id(part), part) for part in inner if part.weights)
    return list(found.values())


def set_trainable(layer: keras.layers.Layer, value: bool) -> None:
    """Freezes or unfreezes a layer, except for what `enable_lora` keeps frozen.

    Keras would unfreeze the kernel too, which low-rank adapters are added to.
    """
    layer.trainable = value
    for part in sublayers(layer):
        if value and getattr(part, "lora_enabled", False):
            for variable in part.weights:
                if variable.name in ("kernel", "embeddings"):
                    variable.trainable = False
