"""The mirror image of an encoder: each layer inverted in shape, from the top down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_dnn._keras.graph import graph_of
from keras_dnn._kernel_axes import has_channels_first
from keras_dnn._layer_kinds import (
    ACTIVATIONS,
    AVERAGE_POOLINGS,
    CONVOLUTIONS,
    CROPPINGS,
    DROPOUTS,
    MAX_POOLINGS,
    NOISES,
    NORMALIZATIONS,
    PADDINGS,
    TRANSPOSED,
    UPSAMPLINGS,
)
from keras_dnn._precision import at_least_float32
from keras_dnn.models._layer_copy import config_of

layers = keras.layers

TRANSPOSED_OF = dict(zip(CONVOLUTIONS, TRANSPOSED, strict=True))
UPSAMPLING_OF = {
    **dict(zip(MAX_POOLINGS, UPSAMPLINGS, strict=True)),
    **dict(zip(AVERAGE_POOLINGS, UPSAMPLINGS, strict=True)),
}
RESHAPES = (layers.Flatten, layers.Reshape)
# A decoder has none of these layers: they keep the shape and only help training.
FOR_TRAINING = (*DROPOUTS, *NOISES, *NORMALIZATIONS)
WEIGHTED = (layers.Dense, *CONVOLUTIONS)


def chain(encoder: keras.Model) -> list[keras.layers.Layer]:
    """The layers of an encoder, which must form a chain and be invertible in shape."""
    graph = graph_of(encoder)
    assert graph is not None
    found = [node.operation for node in graph.nodes]
    is_chain = all(len(n.inputs) == len(n.outputs) == 1 for n in graph.nodes) and all(
        after.inputs[0] is before.outputs[0]
        for before, after in zip(graph.nodes, graph.nodes[1:], strict=False)
    )
    if not is_chain or len({id(layer) for layer in found}) < len(found):
        raise ValueError(
            "encoder must be a chain of layers to be mirrored. autoencoder and masking "
            f"take decoder= for this one. Received: encoder={encoder!r}"
        )
    for layer in found:
        _check(layer)
    return found


def mirror(
    chained: Sequence[keras.layers.Layer],
    shapes: Sequence[tuple[int, ...]],
    activation: Any,
    name: str,
) -> keras.Sequential:
    """Returns a new decoder for a chain of layers.

    The mirror image of a dense layer is a dense layer, that of a convolution a
    transposed one, that of pooling upsampling. Each gets the activation that precedes
    its original in the encoder.

    Args:
        chained: the encoder's layers, from the bottom.
        shapes: input shapes of the layers and the output shape of the last, without the
            batch axis.
        activation: activation of the decoder's outputs.
        name: name of the decoder.
    """
    if not any(type(layer) in WEIGHTED for layer in chained):
        raise ValueError(
            "encoder must have a Dense or a convolution to be mirrored. autoencoder "
            "and masking take decoder= for this one. "
            f"Received: layers {[layer.name for layer in chained]}"
        )
    stack: list[Any] = [keras.Input(shapes[-1])]
    for i in reversed(range(len(chained))):
        stack += _mirror_image(chained[i], shapes[i + 1], shapes[i])
        if type(chained[i]) in WEIGHTED:
            stack += _activation_below(chained[:i])
    last = at_least_float32(chained[-1].compute_dtype)
    stack.append(layers.Activation(activation, dtype=last))
    return keras.Sequential(stack, name=name)


def shapes_of(chained: Sequence[Any], start: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Input shapes of a chain's layers and its output shape, without the batch axis."""
    found = [tuple(start)]
    for layer in chained:
        shape = layer.compute_output_shape((None, *found[-1]))
        found.append(tuple(shape[1:]))
    if any(None in shape for shape in found):
        raise ValueError(
            "encoder must have inputs of a known shape to be mirrored. autoencoder and "
            f"masking take decoder= for this one. Received: inputs of shape {start}"
        )
    return found


def _check(layer: Any) -> None:
    known = (*WEIGHTED, *UPSAMPLING_OF, *RESHAPES, *ACTIVATIONS, *FOR_TRAINING)
    reason = ""
    # A subclass may compute anything.
    if type(layer) not in known:
        reason = "has no known mirror image"
    elif type(layer) in CONVOLUTIONS:
        if layer.groups != 1 or set(layer.dilation_rate) != {1}:
            reason = "has groups or is dilated"
        elif layer.padding == "causal":
            reason = "has causal padding"
    elif type(layer) in UPSAMPLING_OF and layer.pool_size != layer.strides:
        reason = "has overlapping windows"
    if has_channels_first(layer):
        reason = "has its channels first"
    if reason:
        raise ValueError(
            f"encoder can't be mirrored, since its layer {layer.name!r} {reason}. "
            "autoencoder and masking take decoder= for this one. "
            f"Received: a layer {type(layer).__name__}"
        )


def _mirror_image(
    layer: Any, outputs: tuple[int, ...], inputs: tuple[int, ...]
) -> list[keras.layers.Layer]:
    """New layers from the output shape of a layer back to its input shape."""
    same = {"dtype": layer.dtype_policy}
    if type(layer) is layers.Dense:
        return [layers.Dense(inputs[-1], use_bias=layer.use_bias, **same)]
    if type(layer) in RESHAPES:
        return [layers.Reshape(inputs, **same)]
    if type(layer) in CONVOLUTIONS:
        made = TRANSPOSED_OF[type(layer)](
            inputs[-1],
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            use_bias=layer.use_bias,
            **same,
        )
    elif type(layer) in UPSAMPLING_OF:
        size = layer.pool_size if len(inputs) > 2 else layer.pool_size[0]
        made = UPSAMPLING_OF[type(layer)](size, **same)
    else:
        return []
    shape = made.compute_output_shape((None, *outputs))[1:]
    return [made, *_cropping_or_padding(shape, inputs)]


def _cropping_or_padding(
    shape: Sequence[int], target: Sequence[int]
) -> list[keras.layers.Layer]:
    """Layers that crop or pad the end of each spatial axis to the target shape."""
    axes = len(target) - 2
    missing = [b - a for a, b in zip(shape[:-1], target[:-1], strict=True)]
    added = []
    for kinds, sizes in (
        (CROPPINGS, [(0, max(-n, 0)) for n in missing]),
        (PADDINGS, [(0, max(n, 0)) for n in missing]),
    ):
        if any(after for _, after in sizes):
            added.append(kinds[axes](sizes if axes else sizes[0]))
    return added


def _activation_below(chained: Sequence[Any]) -> list[keras.layers.Layer]:
    """The activation of the last of these layers that has one."""
    for layer in reversed(chained):
        if type(layer) in ACTIVATIONS:
            config = {**config_of(layer), "name": None}
            return [type(layer).from_config(config)]
        if type(layer) in WEIGHTED:
            linear = layer.activation is keras.activations.linear
            same = {"dtype": layer.dtype_policy}
            return [] if linear else [layers.Activation(layer.activation, **same)]
    return []
