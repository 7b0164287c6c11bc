"""The weights that lead into each neuron of a layer, and along which axes they lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._kernel_axes import Axes, kernel_axes


def incoming_weights(layer: Any) -> Iterator[tuple[keras.Variable, Axes]]:
    """The kernels of a layer itself, each with the axes to take one neuron's norm over.

    A layer that is not known has none. The neurons of an embedding are its rows: the
    vector of a word is what enters the network.
    """
    if not layer.built:
        return
    if isinstance(layer, keras.layers.Embedding):
        axes: dict[str, Axes] = {"embeddings": (1,)}
    else:
        axes = {name: known.incoming for name, known in kernel_axes(layer).items()}
    for name, incoming in axes.items():
        kernel = getattr(layer, name)
        # A kernel with an adapter (LoRA) is a sum, which nobody can assign to.
        if isinstance(kernel, keras.Variable):
            yield kernel, incoming
