"""Layers that multiply each channel by a constant and add another."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import layer_scale
from keras_dnn._typing import Tensor

layers = keras.layers

Array = np.ndarray[Any, Any]


class Inexact(Exception):  # noqa: N818
    """Raised where a fold would not be exact; its message is the reason to report."""


@dataclasses.dataclass(frozen=True)
class Affine:
    """y = scale · x + shift on a tensor.

    Both have the tensor's axes without the batch, in float64, each of length 1 where
    the values do not change along it.
    """

    scale: Array
    shift: Array

    @property
    def is_shift_free(self) -> bool:
        """Whether it only multiplies."""
        return not self.shift.any()


def compress(array: Array, tolerance: float = 0.0) -> Array:
    """Shortens each axis along which the values do not change to length 1.

    Args:
        array: of any shape.
        tolerance: by how much they may, as a fraction of the largest.
    """
    allowed = tolerance * np.abs(array).max(initial=0.0)
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if array.shape[axis] > 1 and (np.abs(array - first) <= allowed).all():
            array = first
    return array


def float64(variable: Any) -> Array:
    """The values as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")


def is_affine(layer: Any) -> bool:
    """Whether it is a batch norm or another layer that scales and shifts.

    A subclass, which may compute anything, is not.
    """
    return type(layer) in AFFINES


def affine_of(layer: Any, tensor: Tensor) -> Affine:
    """What the layer does to this tensor at inference."""
    rank = len(tensor.shape)
    pair = []
    for array in AFFINES[type(layer)](layer, rank):
        full = array.reshape((1,) * (rank - array.ndim) + array.shape)
        if full.shape[0] != 1:
            raise Inexact("it treats each row of a batch differently")
        pair.append(compress(full[0]))
    return Affine(*pair)


def _batch_norm(norm: Any, rank: int) -> tuple[Array, Array]:
    mean, variance = float64(norm.moving_mean), float64(norm.moving_variance)
    gamma = float64(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = float64(norm.beta) if norm.center else np.zeros_like(mean)
    s = gamma / np.sqrt(variance + norm.epsilon)
    t = beta - mean * s
    shape = [1] * rank
    shape[norm.axis % rank] = -1
    return s.reshape(shape), t.reshape(shape)


def _rescaling(layer: Any, rank: int) -> tuple[Array, Array]:
    s = np.asarray(layer.scale, "float64")
    if s.ndim and keras.config.image_data_format() == "channels_first":
        s = s.reshape(s.shape + (1,) * (3 - s.ndim))
    return s, np.asarray(layer.offset, "float64")


def _normalization(layer: Any, rank: int) -> tuple[Array, Array]:
    mean = float64(layer.mean)
    deviation = np.maximum(np.sqrt(float64(layer.variance)), keras.config.epsilon())
    if layer.invert:
        return deviation, mean
    return 1 / deviation, -mean / deviation


def _layer_scale(layer: Any, rank: int) -> tuple[Array, Array]:
    s = float64(layer.gamma)
    return s, np.zeros_like(s)


AFFINES = {
    layers.BatchNormalization: _batch_norm,
    layers.Normalization: _normalization,
    layers.Rescaling: _rescaling,
    layer_scale(): _layer_scale,
}
