r"""Layers that a scale and a shift can be carried across.

For such a layer P, P(s·x + t) = s'·P(x) + t'. `across` computes s' and t' from s and t,
and `back_across` s and t from s' and t'.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import Node
from keras_dnn._kernel_axes import channel_axis
from keras_dnn._layer_kinds import (
    AVERAGE_POOLINGS,
    CROPPINGS,
    GLOBAL_AVERAGE_POOLINGS,
    GLOBAL_MAX_POOLINGS,
    IDENTITIES,
    MAX_POOLINGS,
    PADDINGS,
    REARRANGEMENTS,
    UPSAMPLINGS,
)
from keras_dnn._precision import float64_arithmetic
from keras_dnn.models._folding.affine import Affine, Array, Inexact, compress, float64

layers = keras.layers

# Each of their outputs is a mean of some inputs of its channel.
MEANS = (*AVERAGE_POOLINGS, *GLOBAL_AVERAGE_POOLINGS, *CROPPINGS, *UPSAMPLINGS)
# Each of their outputs is the largest of some inputs of its channel.
MAXIMA = (*MAX_POOLINGS, *GLOBAL_MAX_POOLINGS)


def across(node: Node, affine: Affine) -> Affine:
    """The same affine behind this call, if it is exact there."""
    layer = node.operation
    if _is_identity(node):
        return affine
    if type(layer) in REARRANGEMENTS:
        return _rearranged(node, affine, forward=True)
    if type(layer) in PADDINGS:
        return _padded(node, affine)
    _check_channels_only(node, affine, node.data)
    return _of_channels(node, affine, node.data, node.outputs[0])


def back_across(node: Node, affine: Affine) -> Affine:
    """The affine in front of this call that does what this one does behind it."""
    layer = node.operation
    if _is_identity(node):
        return affine
    if type(layer) in REARRANGEMENTS:
        return _rearranged(node, affine, forward=False)
    if type(layer) in PADDINGS:
        _check_channels_only(node, affine, node.outputs[0])
        if not affine.is_shift_free:
            raise Inexact(f"the zeros of {layer.name} lie between")
        return affine
    _check_channels_only(node, affine, node.outputs[0])
    return _of_channels(node, affine, node.outputs[0], node.data)


def commutes(node: Node) -> bool:
    """Whether an affine may be carried across a call of this kind at all."""
    kinds = (*REARRANGEMENTS, *MEANS, *MAXIMA, *PADDINGS)
    return _is_identity(node) or type(node.operation) in kinds


def _is_identity(node: Node) -> bool:
    layer = node.operation
    if type(layer) is layers.Activation:
        return layer.activation is keras.activations.linear
    return type(layer) in IDENTITIES and not node.training


def _check_channels_only(node: Node, affine: Affine, tensor: Any) -> None:
    """Refuses a scale or shift that differs from place to place."""
    layer = node.operation
    channels = channel_axis(layer, len(tensor.shape)) - 1
    for array in (affine.scale, affine.shift):
        if any(n > 1 for axis, n in enumerate(array.shape) if axis != channels):
            raise Inexact(f"it differs along an axis that {layer.name} mixes")
    if type(layer) in MAXIMA and (affine.scale < 0).any():
        raise Inexact(f"{layer.name} lies between, and a scale is negative")


def _of_channels(node: Node, affine: Affine, source: Any, target: Any) -> Affine:
    """The affine of the same channels on a tensor of another rank."""
    ranks = len(source.shape) - 1, len(target.shape) - 1
    if ranks[0] == ranks[1]:
        return affine
    layer = node.operation
    shape = [1] * ranks[1]
    axis = channel_axis(layer, len(target.shape)) - 1

    def moved(array: Array) -> Array:
        shape[axis] = array.size
        return array.reshape(shape)

    return Affine(moved(affine.scale), moved(affine.shift))


def _rearranged(node: Node, affine: Affine, forward: bool) -> Affine:
    source, target = node.data.shape[1:], node.outputs[0].shape[1:]
    scale, shift = affine.scale, affine.shift
    if None in source or None in target:
        if scale.size > 1 or shift.size > 1:
            raise Inexact(f"{node.operation.name} moves axes of open length")
        rank = len(target if forward else source)
        return Affine(scale.reshape((1,) * rank), shift.reshape((1,) * rank))
    places = np.arange(np.prod(source, dtype=int)).reshape((1, *source))
    layer = type(node.operation).from_config(
        {**node.operation.get_config(), "dtype": "float64", "name": "places"}
    )
    with float64_arithmetic():
        places = float64(layer(places.astype("float64"))).ravel().astype(int)

    def moved(array: Array) -> Array:
        if forward:
            values = np.broadcast_to(array, source).ravel()[places]
            return compress(values.reshape(target))
        values = np.empty(len(places))
        values[places] = np.broadcast_to(array, target).ravel()
        return compress(values.reshape(source))

    return Affine(moved(scale), moved(shift))


def _padded(node: Node, affine: Affine) -> Affine:
    """The affine behind a padding, which has no shift in the border."""
    layer = node.operation
    channels = channel_axis(layer, len(node.data.shape)) - 1
    if any(n > 1 for axis, n in enumerate(affine.scale.shape) if axis != channels):
        raise Inexact(f"it differs along an axis that {layer.name} pads")
    if affine.is_shift_free:
        return affine
    shape = list(affine.shift.shape)
    for axis, length in enumerate(node.data.shape[1:]):
        if axis != channels:
            if length is None:
                raise Inexact(f"{layer.name} pads an axis of open length")
            shape[axis] = length
    full = np.broadcast_to(affine.shift, shape)
    padding = layer.padding
    pairs = [padding] if isinstance(padding[0], int) else list(padding)
    pairs.insert(channels, (0, 0))
    return Affine(affine.scale, np.pad(full, pairs))
