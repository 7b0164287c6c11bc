"""What a layer passes to its loss, on the tensor that goes from one to the other.

Keras gives a loss nothing but targets and outputs. A mask travels on the output tensor,
and so does this. If a loss reads only what is passed in this way, the output itself is
never computed in a compiled step: TensorFlow and XLA leave out what nothing uses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras_dnn._keras.losses import note, noted
from keras_dnn._typing import Tensor

ATTRIBUTE = "_keras_dnn_deferred"


class Deferred(NamedTuple):
    """The layer that made an output, and its inputs."""

    layer: Any
    inputs: Tensor


def defer(output: Tensor, layer: Any, inputs: Tensor) -> None:
    """Notes on an output where it came from."""
    note(output, ATTRIBUTE, Deferred(layer, inputs))


def deferred(output: Tensor) -> Deferred | None:
    """The note on an output; `None` if anything was computed from it since."""
    found: Deferred | None = noted(output, ATTRIBUTE)
    return found
