"""Checks of encoders and decoders, and the tensors that tasks connect them with."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_dnn._keras.graph import graph_of, required_graph
from keras_dnn._keras.layers import sublayers
from keras_dnn._typing import Tensor


def checked(encoder: Any, name: str = "encoder") -> keras.Model:
    """Returns the model, which must have a graph, one input and one output."""
    if graph_of(encoder) is None:
        raise ValueError(
            f"{name} must be a functional model or a Sequential that begins with "
            f"keras.Input. Received: {name}={encoder!r}"
        )
    if len(encoder.inputs) != 1 or len(encoder.outputs) != 1:
        raise ValueError(
            f"{name} must have one input and one output. Received: {name}={encoder!r} "
            f"with {len(encoder.inputs)} and {len(encoder.outputs)}"
        )
    for layer in sublayers(encoder):
        rounded = layer.quantization_mode in ("int8", "int4")
        if rounded and not getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"{name} must not be quantised, for its rounded kernels do not train. "
                "Pretrain it before model.quantize. "
                f"Received: {layer.name!r} of {layer.quantization_mode}"
            )
    return encoder


def numbers_in(model: keras.Model, task: str, name: str = "encoder") -> None:
    """Raises unless the model takes numbers that can be changed and generated."""
    given = model.inputs[0]
    sparse = getattr(given, "sparse", False)
    if sparse or not keras.backend.is_float_dtype(given.dtype):
        raise ValueError(
            f"{name} must take dense floating-point numbers, which {task} can change "
            "or generate; give the part above the layer that makes them, such as an "
            f"Embedding. Received: {name} with {'sparse' if sparse else given.dtype} "
            "inputs"
        )


def square_images(encoder: keras.Model, task: str) -> None:
    """Raises unless the encoder takes square images with their channels last."""
    shape = tuple(encoder.inputs[0].shape[1:])
    if len(shape) != 3 or shape[0] != shape[1]:
        raise ValueError(
            f"{task} needs an encoder of square images, (side, side, channels). "
            f"Received: an encoder of inputs of shape {shape}"
        )


def new_input(encoder: keras.Model) -> Tensor:
    """A new symbolic input like that of the encoder."""
    given = encoder.inputs[0]
    return keras.Input(given.shape[1:], dtype=given.dtype, name="inputs")


def encoded(encoder: keras.Model, x: Tensor) -> Tensor:
    """The features of the encoder, which may take and return lists of one tensor."""
    given = keras.tree.pack_sequence_as(required_graph(encoder).input_structure, [x])
    (features,) = keras.tree.flatten(encoder(given))
    return features


def decoded(
    decoder: keras.layers.Layer, features: Tensor, encoder: keras.Model
) -> Tensor:
    """The output of the decoder, which must have the shape of the encoder's inputs."""
    try:
        reconstruction = decoder(features)
    except ValueError as error:
        raise ValueError(
            "decoder must take what the encoder returns; where sizes of that are "
            "unknown, as with keras.Input((None, channels)), it cannot be flattened. "
            f"Received: features of shape {tuple(features.shape)} ({error})"[:600]
        ) from error
    expected = tuple(encoder.inputs[0].shape[1:])
    found = tuple(getattr(reconstruction, "shape", ((),)))[1:]
    same = len(found) == len(expected) and all(
        a == b or None in (a, b) for a, b in zip(found, expected, strict=True)
    )
    if not same:
        raise ValueError(
            f"decoder must return the encoder's inputs, of shape {expected}. Received: "
            f"decoder={decoder!r}, which returns the shape {found}"
        )
    return reconstruction


def flat(features: Tensor) -> Tensor:
    """The features flattened to a vector for each example."""
    if len(features.shape) == 2:
        return features
    if None in features.shape[1:]:
        raise ValueError(
            "encoder must return features of a known shape, as after global pooling. "
            f"Received: an encoder with outputs of shape {features.shape}"
        )
    return keras.layers.Reshape((math.prod(features.shape[1:]),))(features)
