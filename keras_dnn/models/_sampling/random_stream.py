"""Random numbers with an address: of this sample, this input, this place in the model.

Philox is a function of a key and a counter. The key says which draw of the model it is,
the counter which sample of which input. So a mask depends on neither how samples are
divided into chunks nor how inputs are divided into batches.

    independent    counter = (input * samples + sample) * numbers in a mask
    coherent       counter = sample * numbers in a mask
    stratified     u = permutation[sample] + shift, of the input and the unit
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.layers._noise import LEVELS, addressed, mask_shape, masked

INDEPENDENT, COHERENT, STRATIFIED = "independent", "coherent", "stratified"
MASKS = (INDEPENDENT, COHERENT, STRATIFIED)

PERMUTATIONS = 256
"""How many orders of the strata there are; each unit takes one and shifts it."""


@dataclass
class Chunk:
    """The samples that are drawn at once.

    Attributes:
        key: of all random numbers, a uint64 scalar.
        masks: one of `MASKS`.
        samples: how many samples there are in all.
        first_sample: the first one of the chunk.
        size: how many of them are in the chunk.
        first_row: position of the chunk's first input among all inputs.
        rows: how many inputs there are; each has its samples one after another.
        strata: `strata(samples, seed)` for stratified masks.
        whole: whether the chunk is one sample of a batch that can't be taken apart.
    """

    key: Tensor
    masks: str
    samples: Tensor
    first_sample: Tensor
    size: Tensor
    first_row: Tensor
    rows: Tensor
    strata: Tensor
    whole: bool = False


class Stream(keras.random.SeedGenerator):
    """Stands in for the seed generators of the layers that are sampled from."""

    def __init__(self) -> None:
        super().__init__(0)
        self._chunk: Chunk | None = None
        self.by_row = True
        """Whether all that was drawn had a part for each input."""

    def begin(self, chunk: Chunk) -> None:
        """Starts the draws of a chunk, in the trace."""
        self._chunk = chunk
        self.draws = 0

    @property
    def chunk(self) -> Chunk:
        """What is being drawn; without it nothing is random."""
        assert self._chunk is not None
        return self._chunk

    def next(self, ordered: bool = True) -> Tensor:
        """A seed for draws of other kinds, another one for each chunk."""
        if self._chunk is None:
            return tf.constant([0, 0], tf.int64)
        chunk, key = self.chunk, self._next_key()
        place = chunk.first_row * chunk.samples + chunk.first_sample
        return tf.stack([tf.bitcast(key, tf.int64) >> 1, place])

    def drop(
        self,
        inputs: Tensor,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
    ) -> Tensor:
        """Keras's dropout."""
        if self._chunk is None:
            # A recurrent layer draws its masks at inference too and forgets them.
            return inputs
        inputs = tf.convert_to_tensor(inputs)
        shape = mask_shape(inputs, noise_shape)
        if self.chunk.masks != COHERENT or self.chunk.whole:
            return masked(inputs, rate, self._sixteen_bits(shape))
        # The mask of a sample meets all inputs, so it need not be spread out.
        factor = self.factor(shape, rate, inputs.dtype)
        several = [-1, self.chunk.size, factor.shape[2] or tf.shape(factor)[2]]
        split = tf.reshape(inputs, [*several, *mask_shape(inputs, None)[1:]])
        return tf.ensure_shape(
            tf.reshape(split * factor, tf.shape(inputs)), inputs.shape
        )

    def factor(self, shape: Sequence[Any], rate: float, dtype: tf.DType) -> Tensor:
        """What a coherent mask of this shape multiplies by; see `_addressed`."""
        bits = self._addressed(tf.uint16, shape)
        return masked(tf.ones(tf.shape(bits), dtype), rate, bits)

    def uniform(
        self,
        shape: Sequence[Any],
        minval: float = 0.0,
        maxval: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Uniform numbers, from the middles of 2^16 equal parts."""
        middle = tf.fill(shape, 0.5)
        share = middle if self._chunk is None else self._shares(list(shape))
        return tf.cast(
            minval + (maxval - minval) * share, dtype or keras.config.floatx()
        )

    def normal(
        self,
        shape: Sequence[Any],
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Normal numbers; stratified ones by the inverse of their distribution."""
        if self._chunk is None:
            standard = tf.zeros(shape)
        elif self.chunk.masks == STRATIFIED:
            standard = tf.math.ndtri(self._shares(list(shape)))
        else:
            standard = self._spread(self._addressed(tf.float32, list(shape)))
        return tf.cast(mean + stddev * standard, dtype or keras.config.floatx())

    def _shares(self, shape: list[Any]) -> Tensor:
        return (tf.cast(self._sixteen_bits(shape), tf.float32) + 0.5) / LEVELS

    def _sixteen_bits(self, shape: list[Any]) -> Tensor:
        if self.chunk.masks == STRATIFIED:
            return self._spread(self._stratified(shape))
        return self._spread(self._addressed(tf.uint16, shape))

    def _spread(self, drawn: Tensor) -> Tensor:
        """What was drawn for each row and sample, as one row after the other."""
        if self.chunk.whole:
            return drawn
        if drawn.shape[0] == 1:
            rows = tf.concat([[self.chunk.rows], tf.shape(drawn)[1:]], 0)
            drawn = tf.broadcast_to(drawn, rows)
        inner = [n or tf.shape(drawn)[i + 3] for i, n in enumerate(drawn.shape[3:])]
        return tf.reshape(drawn, [-1, *inner])

    def _addressed(self, dtype: tf.DType, shape: Sequence[Any]) -> Tensor:
        """Numbers of shape `(rows, samples, parts, *shape[1:])`.

        `rows` is 1 where all rows share them; there may be several `parts` of a row,
        as in a layer that sees each step of a sequence as a row. If the chunk is a
        whole, the shape is as given.
        """
        chunk, key = self.chunk, self._next_key()
        place = chunk.first_sample
        if chunk.masks == COHERENT:
            if chunk.whole:
                return self._whole_coherent(key, dtype, shape)
            return self._of_rows(key, dtype, place, 1, shape)
        place += chunk.first_row * chunk.samples
        if chunk.whole:
            drawn = addressed(key, dtype, 0, 1, _product(shape), high=place)
            return tf.reshape(drawn, tf.stack(shape))
        if self._shared(shape):
            return self._of_rows(key, dtype, chunk.first_sample, 1, shape)
        return self._of_rows(key, dtype, place, chunk.rows, shape)

    def _of_rows(
        self, key: Tensor, dtype: tf.DType, place: Tensor, rows: Any, shape: Any
    ) -> Tensor:
        size, parts = self.chunk.size, self._parts(shape)
        drawn = addressed(key, dtype, place, rows * size, _product([parts, *shape[1:]]))
        return tf.reshape(drawn, [rows, size, parts, *shape[1:]])

    def _whole_coherent(self, key: Tensor, dtype: tf.DType, shape: Any) -> Tensor:
        by_row = shape[0] == self.chunk.rows if isinstance(shape[0], int) else True
        mask = [1, *shape[1:]] if by_row else shape
        drawn = addressed(
            key, dtype, 0, 1, _product(mask), high=self.chunk.first_sample
        )
        return tf.broadcast_to(tf.reshape(drawn, tf.stack(mask)), tf.stack(shape))

    def _stratified(self, shape: Sequence[Any]) -> Tensor:
        """One number in each stratum, if all samples of a row and unit are taken."""
        chunk, key = self.chunk, self._next_key()
        rows: Any = 1
        if chunk.whole:
            inner, size = list(shape), 1
            words = addressed(
                key, tf.uint32, 0, 1, _product(inner), high=chunk.first_row
            )
        else:
            inner, size = [self._parts(shape), *shape[1:]], chunk.size
            shared = self._shared(shape)
            rows = 1 if shared else chunk.rows
            first = 0 if shared else chunk.first_row
            words = addressed(key, tf.uint32, first, rows, _product(inner))
        parts = tf.bitcast(words, tf.uint16)[:, tf.newaxis]
        order = tf.cast(parts[..., 0], tf.int32) % PERMUTATIONS
        sample = tf.cast(chunk.first_sample, tf.int32) + tf.range(size)
        place = order + PERMUTATIONS * sample[:, tf.newaxis]
        drawn = tf.gather(tf.reshape(chunk.strata, [-1]), place) + parts[..., 1]
        return tf.reshape(drawn, inner if chunk.whole else [rows, size, *inner])

    def _parts(self, shape: Sequence[Any]) -> Any:
        """Into how many rows of its own a layer has divided each row."""
        if self._shared(shape):
            return 1
        return shape[0] // tf.maximum(self.chunk.rows * self.chunk.size, 1)

    def _shared(self, shape: Sequence[Any]) -> bool:
        """Whether a mask has no part for each row; a user's `noise_shape` says so."""
        if isinstance(shape[0], int) and shape[0] != 1:
            self.by_row = False
        return isinstance(shape[0], int) and shape[0] == 1

    def _next_key(self) -> Tensor:
        self.draws += 1
        # The fraction of the golden ratio keeps the keys of all draws far apart.
        constant = self.draws * 0x9E3779B97F4A7C15 % 2**64
        return tf.bitwise.bitwise_xor(self.chunk.key, tf.constant(constant, tf.uint64))


def strata(samples: int, seed: int) -> np.ndarray:
    """Lower ends of `samples` strata of 2^16 in random orders, a column each."""
    ends = (np.arange(samples) * LEVELS // samples).astype("uint16")
    columns = np.repeat(ends[:, np.newaxis], PERMUTATIONS, axis=1)
    return np.random.default_rng(seed).permuted(columns, axis=0)


def _product(shape: Sequence[Any]) -> Any:
    return math.prod(shape) if shape else 1


def seed_key(seed: int) -> Tensor:
    """The key of a seed."""
    mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    return tf.constant(mixed, tf.uint64)
