"""A model for inference only: without the layers that only training needs."""

from __future__ import annotations

import keras

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
