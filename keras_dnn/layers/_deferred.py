"""What a layer hands its loss, on the tensor that goes from one to the other.

Keras passes a loss targets and outputs, and no more. A mask travels on the output
tensor; so does this. An output of which the loss reads no more than what is handed over
is never computed in a compiled step: TensorFlow and XLA leave out what nobody uses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from keras_dnn._typing import Tensor

ATTRIBUTE = "_keras_dnn_deferred"


class Deferred(NamedTuple):
    """The layer that made an output, and from what."""

    layer: Any
    inputs: Tensor


def defer(output: Tensor, layer: Any, inputs: Tensor) -> None:
    """Notes on an output where it came from."""
    attributes = keras.src.backend.common.tensor_attributes
    attributes.set_tensor_attr(output, ATTRIBUTE, Deferred(layer, inputs))


def deferred(output: Tensor) -> Deferred | None:
    """What was noted on an output, if it is just as the layer made it."""
    attributes = keras.src.backend.common.tensor_attributes
    found: Deferred | None = attributes.get_tensor_attr(output, ATTRIBUTE)
    return found
