"""Masks as constants of an exported model, for runtimes without random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.randomness import drawn_seed
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.layers._noise import LEVELS
from keras_dnn.models._sampling.random_stream import COHERENT, Chunk, Seed, Stream


class MaskBank(Stream):
    """Gives out masks that are the same in each call and for each input.

    They are stratified over the samples.

    Args:
        samples: how many masks there are of each layer.
        seed: integer for the same masks each time.
    """

    def __init__(self, samples: int, seed: int | None) -> None:
        super().__init__()
        self.samples = samples
        self.rng = np.random.default_rng(drawn_seed() if seed is None else seed)
        self.begin(
            Chunk(
                seed=Seed(None, None),
                masks=COHERENT,
                samples=samples,
                first_sample=0,
                size=samples,
                first_row=0,
                rows=None,
            )
        )

    def shared_mask(self, shape: Sequence[Any], rate: float, dtype: tf.DType) -> Tensor:
        """The factors of a mask, as constants."""
        threshold = round(rate * LEVELS) / LEVELS
        factors = (self._stratified_uniform(shape) >= threshold) / (1 - threshold)
        return tf.constant(factors[np.newaxis, :, np.newaxis], dtype)

    def normal(
        self,
        shape: Sequence[Any],
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Normal numbers, as constants."""
        with tf.init_scope():
            standard = tf.math.ndtri(self._stratified_uniform(shape)).numpy()
        numbers = self._for_all_inputs(standard, shape)
        return tf.cast(mean + stddev * numbers, dtype or keras.config.floatx())

    def _standard_uniform(self, shape: Sequence[Any]) -> Tensor:
        return self._for_all_inputs(self._stratified_uniform(shape), shape)

    def _for_all_inputs(self, numbers: np.ndarray, shape: Sequence[Any]) -> Tensor:
        times = [shape[0] // self.samples] + [1] * (len(shape) - 1)
        return tf.tile(tf.constant(numbers, tf.float32), times)

    def _stratified_uniform(self, shape: Sequence[Any]) -> np.ndarray:
        """Uniform numbers for each sample and unit, one in each stratum of a unit."""
        inner = tuple(shape[1:])
        if not all(isinstance(n, int) for n in inner):
            raise ValueError(
                "model must take inputs of one shape, since the masks in the file are "
                f"constants. Received: a layer with dropout on rows of shape {inner}"
            )
        units = math.prod(inner)
        strata = np.tile(np.arange(self.samples), (units, 1))
        numbers = self.rng.permuted(strata, axis=1) + self.rng.random((units, 1))
        return (numbers / self.samples).T.reshape(self.samples, *inner)
