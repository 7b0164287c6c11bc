"""Random numbers with an address: the sample, the input and the place in the model.

Philox is a function of a key and a counter. The key depends on which draw of the model
it is, the counter on which sample of which input. So a mask depends neither on how
samples are divided into chunks nor on how inputs are divided into batches.

    independent    counter = (input * samples + sample) * numbers in a mask
    coherent       counter = sample * numbers in a mask
    stratified     u = permutation[sample] + shift, of the input and the unit
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import keras
import numpy as np

from keras_dnn._keras.randomness import drawn_seed
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.layers._noise import LEVELS, addressed, mask_shape, masked

Masks: TypeAlias = Literal["independent", "coherent", "stratified"]
MASKS: tuple[Masks, ...] = get_args(Masks)
INDEPENDENT, COHERENT, STRATIFIED = MASKS

PERMUTATIONS = 256
"""The number of orders of the strata; each unit takes one and shifts it."""


class Seed(NamedTuple):
    """What all random numbers of a call are computed from.

    Attributes:
        key: a uint64 scalar.
        strata: for stratified masks, the lower ends of the samples' strata.
    """

    key: Tensor
    strata: Tensor

    @classmethod
    def of(cls, seed: int | None, samples: int, masks: Masks) -> Seed:
        """The key and the strata of an integer.

        Without one, `keras.utils.set_random_seed` governs.
        """
        # A `SeedGenerator` would make a variable, which takes a millisecond.
        seed = drawn_seed() if seed is None else seed
        mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        table: Any = strata(samples, seed) if masks == STRATIFIED else []
        return cls(tf.constant(mixed, tf.uint64), tf.constant(table, tf.uint16))


def strata(samples: int, seed: int) -> np.ndarray:
    """Lower ends of `samples` strata of 2^16 in random orders, a column each."""
    ends = (np.arange(samples) * LEVELS // samples).astype("uint16")
    columns = np.repeat(ends[:, np.newaxis], PERMUTATIONS, axis=1)
    return np.random.default_rng(seed).permuted(columns, axis=0)


@dataclass
class Chunk:
    """The samples that are drawn together.

    Attributes:
        seed: of all random numbers.
        masks: one of `MASKS`.
        samples: how many samples there are in all.
        first_sample: the first one of the chunk.
        size: how many of them are in the chunk.
        first_row: position of the chunk's first input among all inputs.
        rows: how many inputs there are; each has its samples one after another.
        divisible: whether each input has rows of its own. If not, the chunk is one
            sample of a batch that cannot be divided.
    """

    seed: Seed
    masks: Masks
    samples: Tensor
    first_sample: Tensor
    size: Tensor
    first_row: Tensor
    rows: Tensor
    divisible: bool = True


class Stream(keras.random.SeedGenerator):
    """Takes the place of the seed generators of the layers that are sampled from."""

    def __init__(self) -> None:
        super().__init__(0)
        self._chunk: Chunk | None = None
        self.by_row = True
        """Whether everything drawn so far had a part for each input."""

    def begin(self, chunk: Chunk) -> None:
        """Starts the draws of a chunk, while the graph is traced."""
        self._chunk = chunk
        self.draws = 0

    @property
    def chunk(self) -> Chunk:
        """The chunk being drawn; without one nothing is random."""
        assert self._chunk is not None
        return self._chunk

    # What layers ask for --------------------------------------------------------------

    def next(self, ordered: bool = True) -> Tensor:
        """A seed for draws of other kinds, a different one for each chunk."""
        if self._chunk is None:
            return tf.constant([0, 0], tf.int64)
        chunk, key = self.chunk, self._next_key()
        place = chunk.first_row * chunk.samples + chunk.first_sample
        positive = tf.bitwise.right_shift(key, tf.constant(1, tf.uint64))
        return tf.stack([tf.bitcast(positive, tf.int64), place])

    def drop(
        self,
        inputs: Tensor,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
    ) -> Tensor:
        """Keras's dropout."""
        if self._chunk is None:
            # A recurrent layer draws its masks at inference too and ignores them.
            return inputs
        inputs = tf.convert_to_tensor(inputs)
        shape = mask_shape(inputs, noise_shape)
        if self.chunk.masks != COHERENT or not self.chunk.divisible:
            return masked(inputs, rate, self._sixteen_bits(shape))
        # All inputs share the mask of a sample, so it need not be repeated for each.
        mask = self.shared_mask(shape, rate, inputs.dtype)
        by_sample = [-1, self.chunk.size, mask.shape[2] or tf.shape(mask)[2]]
        divided = tf.reshape(inputs, [*by_sample, *mask_shape(inputs, None)[1:]])
        dropped = tf.reshape(divided * mask, tf.shape(inputs))
        return tf.ensure_shape(dropped, inputs.shape)

    def shared_mask(self, shape: Sequence[Any], rate: float, dtype: tf.DType) -> Tensor:
        """Factors for all inputs, of shape `(1, samples, parts, *shape[1:])`."""
        bits = self._of_samples(tf.uint16, shape)
        return masked(tf.ones(tf.shape(bits), dtype), rate, bits)

    def uniform(
        self,
        shape: Sequence[Any],
        minval: float = 0.0,
        maxval: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Uniform numbers, from the middles of 2^16 equal parts."""
        shape = _several(shape)
        middle = tf.fill(shape, 0.5)
        standard = middle if self._chunk is None else self._standard_uniform(shape)
        return tf.cast(
            minval + (maxval - minval) * standard, dtype or keras.config.floatx()
        )

    def normal(
        self,
        shape: Sequence[Any],
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Normal numbers; stratified ones by the inverse of their distribution."""
        shape = _several(shape)
        if self._chunk is None:
            standard = tf.zeros(shape)
        elif self.chunk.masks == STRATIFIED:
            standard = tf.math.ndtri(self._standard_uniform(shape))
        else:
            standard = self._as_rows(self._of_samples(tf.float32, shape))
        return tf.cast(mean + stddev * standard, dtype or keras.config.floatx())

    # How it is drawn ------------------------------------------------------------------

    def _standard_uniform(self, shape: Sequence[Any]) -> Tensor:
        return (tf.cast(self._sixteen_bits(shape), tf.float32) + 0.5) / LEVELS

    def _sixteen_bits(self, shape: Sequence[Any]) -> Tensor:
        if self.chunk.masks == STRATIFIED:
            return self._as_rows(self._stratified(shape))
        return self._as_rows(self._of_samples(tf.uint16, shape))

    def _as_rows(self, drawn: Tensor) -> Tensor:
        """Numbers of each input and sample, as one row after the other."""
        if not self.chunk.divisible:
            return drawn
        if drawn.shape[0] == 1:
            rows = tf.concat([[self.chunk.rows], tf.shape(drawn)[1:]], 0)
            drawn = tf.broadcast_to(drawn, rows)
        inner = [n or tf.shape(drawn)[i + 3] for i, n in enumerate(drawn.shape[3:])]
        return tf.reshape(drawn, [-1, *inner])

    def _of_samples(self, dtype: tf.DType, shape: Sequence[Any]) -> Tensor:
        """Numbers of shape `(inputs, samples, parts, *shape[1:])`.

        The first axis is 1 where all inputs share them. An input may have several
        `parts`, as in a layer that takes each step of a sequence as a row. If the
        chunk is not divisible, the shape is as given.
        """
        chunk, key = self.chunk, self._next_key()
        self.by_row &= not isinstance(shape[0], int) or shape[0] == 1
        if not chunk.divisible:
            return self._of_batch(key, dtype, shape)
        rows, first = 1, chunk.first_sample
        if chunk.masks != COHERENT and not _is_shared(shape):
            rows, first = chunk.rows, first + chunk.first_row * chunk.samples
        inner = [self._parts(shape), *shape[1:]]
        drawn = addressed(key, dtype, first, rows * chunk.size, _product(inner))
        return tf.reshape(drawn, [rows, chunk.size, *inner])

    def _of_batch(self, key: Tensor, dtype: tf.DType, shape: Sequence[Any]) -> Tensor:
        """The numbers of one sample of a batch that cannot be divided."""
        chunk = self.chunk
        mask, place = shape, chunk.first_sample
        if chunk.masks != COHERENT:
            place += chunk.first_row * chunk.samples
        elif not _differ(shape[0], chunk.rows):
            mask = [1, *shape[1:]]
        drawn = addressed(key, dtype, 0, 1, _product(mask), high=place)
        return tf.broadcast_to(tf.reshape(drawn, tf.stack(mask)), tf.stack(shape))

    def _stratified(self, shape: Sequence[Any]) -> Tensor:
        """Over all samples of an input, one number of each unit in each stratum."""
        chunk, key = self.chunk, self._next_key()
        rows: Any = 1
        if chunk.divisible:
            inner, size = [self._parts(shape), *shape[1:]], chunk.size
            shared = _is_shared(shape)
            rows = 1 if shared else chunk.rows
            first = 0 if shared else chunk.first_row
            words = addressed(key, tf.uint32, first, rows, _product(inner))
        else:
            inner, size, count = list(shape), 1, _product(shape)
            words = addressed(key, tf.uint32, 0, 1, count, high=chunk.first_row)
        orders_shifts = tf.bitcast(words, tf.uint16)[:, tf.newaxis]
        order = tf.cast(orders_shifts[..., 0], tf.int32) % PERMUTATIONS
        sample = tf.cast(chunk.first_sample, tf.int32) + tf.range(size)
        place = order + PERMUTATIONS * sample[:, tf.newaxis]
        ends = tf.gather(tf.reshape(chunk.seed.strata, [-1]), place)
        drawn = ends + orders_shifts[..., 1]
        return tf.reshape(drawn, [rows, size, *inner] if chunk.divisible else inner)

    def _parts(self, shape: Sequence[Any]) -> Any:
        """Into how many rows of its own a layer has divided each row."""
        if _is_shared(shape):
            return 1
        return shape[0] // tf.maximum(self.chunk.rows * self.chunk.size, 1)

    def _next_key(self) -> Tensor:
        self.draws += 1
        # The fraction of the golden ratio keeps the keys of all draws far apart.
        constant = self.draws * 0x9E3779B97F4A7C15 % 2**64
        key = self.chunk.seed.key
        return tf.bitwise.bitwise_xor(key, tf.constant(constant, tf.uint64))


def _several(shape: Any) -> list[Any]:
    """A shape as a list, also where it is a tensor such as `tf.shape(x)`."""
    return tf.unstack(shape) if isinstance(shape, tf.Tensor) else list(shape)


def _is_shared(shape: Sequence[Any]) -> bool:
    """Whether a mask is the same for all inputs, as a user's `noise_shape` may say."""
    return isinstance(shape[0], int) and shape[0] == 1


def _differ(one: Any, other: Any) -> bool:
    """Whether two numbers are known to be different; a tensor's value is not known."""
    known = isinstance(one, int) and isinstance(other, int)
    return known and one != other


def _product(shape: Sequence[Any]) -> Any:
    return math.prod(shape) if shape else 1
