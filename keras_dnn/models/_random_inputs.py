"""Random inputs for a model, in place of data."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import graph_of
from keras_dnn._typing import Tensor


def random_inputs(
    model: keras.Model, largest: int | None = None, rows: int = 2, size: int = 64
) -> Any:
    """Normal numbers, or zeros and ones for integer inputs.

    Args:
        model: whose inputs to make.
        largest: the length to which longer axes of images are cut.
        rows: how many.
        size: the length of open axes.
    """
    generator = np.random.default_rng(0)

    def draw(tensor: Tensor) -> np.ndarray:
        shape = [rows, *(size if n is None else n for n in tensor.shape[1:])]
        if tensor.shape[0] is not None:
            shape[0] = tensor.shape[0]
        if largest is not None and len(shape) > 3:
            shape[1:] = [min(n, largest) for n in shape[1:]]
        if keras.backend.is_float_dtype(tensor.dtype):
            return generator.normal(size=shape)
        return generator.integers(0, 2, size=shape).astype(tensor.dtype)

    graph = graph_of(model)
    assert graph is not None
    return keras.tree.map_structure(draw, graph.input_structure)
