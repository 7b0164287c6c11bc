"""The kernels of a layer that initial weights are drawn for."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._kernel_axes import KernelAxes, kernel_axes
from keras_dnn._layer_kinds import LINEAR


def kernels_of(layer: Any) -> list[tuple[keras.Variable, KernelAxes]]:
    """The kernels of a linear layer in the order of use; none for other layers.

    What is not a variable is left out: with an adapter (LoRA) the kernel is a sum.
    """
    if not isinstance(layer, LINEAR) or not layer.built:
        return []
    return [
        (kernel, axes)
        for name, axes in kernel_axes(layer).items()
        if isinstance(kernel := getattr(layer, name), keras.Variable)
    ]
