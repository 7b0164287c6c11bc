"""Statistics of samples that are gathered chunk by chunk and then forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor


class Moments(NamedTuple):
    """What is kept of the samples of one output so far, in float64.

    Mean and squares are merged by Chan's rule: a running sum of squares would lose all
    its digits where the mean is large and the spread small.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    entropy: Tensor
    votes: Tensor
    proper: Tensor


def no_samples(shape: Sequence[Tensor], kind: str) -> Moments:
    """The start, for an output of this shape and kind (see `kind_of`)."""
    zeros = tf.zeros(shape, tf.float64)
    votes = tf.zeros_like(probabilities(zeros, kind))
    entropies = tf.reduce_sum(votes, -1) if kind != NUMBERS else zeros
    nothing = tf.zeros((), tf.float64)
    return Moments(
        nothing, zeros, zeros, entropies, votes, tf.constant(kind != NUMBERS)
    )


def add_samples(moments: Moments, y: Tensor, kind: str) -> Moments:
    """Adds samples `y` of shape `(rows, samples, *shape of a row)`."""
    y = tf.cast(y, tf.float64)
    new = tf.cast(tf.shape(y)[1], tf.float64)
    # Equal samples must have their very value as the mean, so that their spread is 0.
    mean = y[:, 0] + tf.reduce_mean(y - y[:, :1], 1)
    count = moments.count + new
    delta = mean - moments.mean
    entropies, votes, proper = moments.entropy, moments.votes, moments.proper
    if kind != NUMBERS:
        p = probabilities(y, kind)
        proper &= is_distribution(p)
        entropies += tf.reduce_sum(entropy(p), 1)
        winners = tf.one_hot(tf.argmax(p, -1), tf.shape(p)[-1], dtype=tf.float64)
        votes += tf.reduce_sum(winners, 1)
    return Moments(
        count,
        moments.mean + delta * (new / count),
        moments.squares
        + tf.reduce_sum(tf.square(y - mean[:, tf.newaxis]), 1)
        + tf.square(delta) * moments.count * (new / count),
        entropies,
        votes,
        proper,
    )


def quantiles_of(samples: Tensor, shares: Sequence[float]) -> Tensor:
    """Quantiles along the first axis, linear between neighbours as NumPy's."""
    ordered = tf.sort(tf.cast(samples, tf.float64), axis=0)
    last = tf.shape(ordered)[0] - 1
    place = tf.constant(shares, tf.float64) * tf.cast(last, tf.float64)
    below = tf.cast(tf.floor(place), tf.int32)
    low = tf.gather(ordered, below)
    high = tf.gather(ordered, tf.minimum(below + 1, last))
    part = place - tf.floor(place)
    return low + (high - low) * tf.reshape(part, [-1] + [1] * (len(low.shape) - 1))


def summary(moments: Moments, kind: str) -> dict[str, Tensor]:
    """The measures that `MCPrediction` names, for one output, and `proper`.

    Class measures mean something only where all samples were `proper` distributions.
    """
    found = {
        "proper": moments.proper,
        "mean": moments.mean,
        "std": tf.sqrt(moments.squares / moments.count),
    }
    if kind != NUMBERS:
        total = entropy(probabilities(moments.mean, kind))
        expected = moments.entropy / moments.count
        found["entropy"] = total
        found["expected_entropy"] = expected
        # Never negative in exact arithmetic.
        found["mutual_information"] = tf.maximum(total - expected, 0.0)
        found["variation_ratio"] = (
            1.0 - tf.reduce_max(moments.votes, -1) / moments.count
        )
    return found


NUMBERS, CLASSES, ONE_OF_TWO = "numbers", "classes", "one of two"
"""What an output may hold: numbers, a distribution, or P(second of two classes)."""


def kind_of(shape: Sequence[int], sigmoid: bool) -> str:
    """What an output may hold, judged by its shape (rows included) and its end."""
    if len(shape) < 2 or (shape[-1] == 1 and not sigmoid):
        return NUMBERS
    return ONE_OF_TWO if shape[-1] == 1 else CLASSES


def is_distribution(p: Tensor) -> Tensor:
    """Whether all entries along the last axis are shares of 1."""
    # In half precision a softmax adds up to 1 within some 1e-3 only.
    sums = tf.reduce_sum(p, -1)
    return tf.reduce_all(p >= 0) & tf.reduce_all(tf.abs(sums - 1) < 1e-2)


def probabilities(y: Tensor, kind: str) -> Tensor:
    """Outputs as a distribution over classes along the last axis."""
    return tf.concat([1.0 - y, y], -1) if kind == ONE_OF_TWO else y


def entropy(p: Tensor) -> Tensor:
    """-Σ p ln p over the last axis, where 0 ln 0 is 0."""
    return -tf.reduce_sum(tf.math.xlogy(p, p), -1)
