"""A model for inference only: without the layers that only training needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._layer_kinds import IDENTITIES
from keras_dnn.models.folding import fold_batch_norm
from keras_dnn.models.rebuild import rebuild


def stripped(model: keras.Model) -> tuple[keras.Model, str]:
    """The model without idle layers and batch norms, and what was done.

    The model itself, and why, if it cannot be rebuilt.
    """
    dropped: list[str] = []

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer | None:
        if type(layer) not in IDENTITIES:
            return layer
        dropped.append(layer.name)
        return None

    try:
        result = fold_batch_norm(rebuild(model, replace))
    except Exception as error:
        return model, f"Not folded: {error}"
    norms = len(result.folded) + len(result.kept)
    return result.model, (
        f"Layers dropped that do nothing at inference: {len(dropped)}; batch norms "
        f"folded: {len(result.folded)} of {norms}."
    )


@contextlib.contextmanager
def without_recurrent_dropout(model: keras.Model) -> Iterator[None]:
    """Sets the dropout rates of recurrent cells to zero for a while.

    Keras's cells draw their masks in inference mode too, and throw them away: that
    takes time, moves the seed, and a graph with such a state cannot be frozen.
    """
    cells = [
        layer
        for layer in sublayers(model)
        if hasattr(layer, "get_recurrent_dropout_mask")
    ]
    before = [
        {name: getattr(cell, name) for name in CHANGED if hasattr(cell, name)}
        for cell in cells
    ]
    try:
        for cell in cells:
            if cell.recurrent_dropout and hasattr(cell, "implementation"):
                # One product for all gates, which masks of their own had ruled out.
                cell.implementation = 2
            cell.dropout = cell.recurrent_dropout = 0.0
        yield
    finally:
        for cell, attributes in zip(cells, before, strict=True):
            for name, value in attributes.items():
                setattr(cell, name, value)


CHANGED = ("dropout", "recurrent_dropout", "implementation")
