"""Statistics of samples that are gathered chunk by chunk and then forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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


def no_samples(shape: Sequence[Tensor], kind: str) -> Moments:
    """The start, for an output of this shape and kind (see `kind_of`)."""
    zeros = tf.zeros(shape, tf.float64)
    votes = tf.zeros_like(probabilities(zeros, kind))
    return Moments(tf.zeros((), tf.float64), zeros, zeros, votes[..., 0], votes)


def add_samples(moments: Moments, y: Tensor, kind: str) -> Moments:
    """Adds samples `y` of shape `(samples, *shape of the output)`."""
    y = tf.cast(y, tf.float64)
    new = tf.cast(tf.shape(y)[0], tf.float64)
    mean = tf.reduce_mean(y, 0)
    count = moments.count + new
    delta = mean - moments.mean
    entropies, votes = moments.entropy, moments.votes
    if kind != NUMBERS:
        p = probabilities(y, kind)
        entropies += tf.reduce_sum(entropy(p), 0)
        winners = tf.one_hot(tf.argmax(p, -1), tf.shape(p)[-1], dtype=tf.float64)
        votes += tf.reduce_sum(winners, 0)
    return Moments(
        count,
        moments.mean + delta * new / count,
        moments.squares
        + tf.reduce_sum(tf.square(y - mean), 0)
        + tf.square(delta) * moments.count * new / count,
        entropies,
        votes,
    )


def summary(moments: Moments, kind: str) -> dict[str, Tensor]:
    """The measures that `MCPrediction` names, for one output."""
    found = {
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
"""What an output holds: numbers, a distribution over classes, or P(second of two)."""


def kind_of(y: np.ndarray, sigmoid: bool) -> str:
    """What an output holds, judged by one batch of it.

    Args:
        y: the outputs.
        sigmoid: whether they come out of a sigmoid.
    """
    if y.ndim >= 2 and y.shape[-1] == 1 and sigmoid:
        return ONE_OF_TWO
    if y.ndim < 2 or y.shape[-1] < 2 or not y.size:
        return NUMBERS
    # In half precision a softmax adds up to 1 within some 1e-3 only.
    sums = y.astype("float64").sum(-1)
    return CLASSES if y.min() >= 0 and np.abs(sums - 1).max() < 1e-2 else NUMBERS


def probabilities(y: Tensor, kind: str) -> Tensor:
    """Outputs as a distribution over classes along the last axis."""
    return tf.concat([1.0 - y, y], -1) if kind == ONE_OF_TWO else y


def entropy(p: Tensor) -> Tensor:
    """-Σ p ln p over the last axis, where 0 ln 0 is 0."""
    return -tf.reduce_sum(tf.math.xlogy(p, p), -1)
