"""The measures of Monte Carlo samples, each in one place.

`measures_of` computes them from the moments of samples: for `mc_predict` in float64,
gathered chunk by chunk; in an exported model in float32, of all samples at once, with
operations that other runtimes have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._sampling.random_stream import Masks

CLASS_MEASURES = (
    "entropy",
    "expected_entropy",
    "mutual_information",
    "variation_ratio",
)
"""Measures of outputs that are distributions over classes."""

MEASURES = ("mean", "std", *CLASS_MEASURES)

ON_DEMAND = ("quantiles", "covariance", "samples")

Kind: TypeAlias = Literal["numbers", "classes", "one of two"]
"""What an output may hold: numbers, a distribution, or P(second of two classes)."""

NUMBERS: Final = "numbers"
CLASSES: Final = "classes"
ONE_OF_TWO: Final = "one of two"


class Task(NamedTuple):
    """What to do, as the arguments of `mc_predict` say."""

    samples: int
    seed: int | None
    masks: Masks
    return_samples: bool = False
    quantiles: tuple[float, ...] = ()


class Output(NamedTuple):
    """The properties of one output of a model."""

    kind: Kind
    rows: Fraction
    """The number of its rows for each input: 1, except in unusual models."""
    shape: tuple[int, ...]
    dtype: Any

    @classmethod
    def of(cls, y: Tensor, layer: Any, rows: int) -> Output:
        """The output of a layer that gave `y` as one sample of `rows` inputs."""
        sigmoid = getattr(layer, "activation", None) is keras.activations.sigmoid
        fraction = Fraction(int(y.shape[0]), rows)
        return cls(kind_of(y.shape, sigmoid), fraction, tuple(y.shape[1:]), y.dtype)

    def by_sample(self, y: Tensor, rows: Tensor, size: Tensor) -> Tensor:
        """`y` with an axis for its `size` samples, after that for its rows."""
        parts, *rest = self.rows.as_integer_ratio()
        if rest != [1]:
            return y[:, tf.newaxis]
        y = tf.reshape(y, [rows, size, parts, *self.shape])
        if parts == 1:
            return y[:, :, 0]
        y = tf.experimental.numpy.swapaxes(y, 1, 2)
        return tf.reshape(y, [rows * parts, size, *self.shape])


def gathered(
    draw: Callable[[Tensor, Tensor], list[Tensor]],
    outputs: Sequence[Output],
    task: Task,
    *,
    rows: Tensor,
    samples: Tensor,
    at_once: Tensor,
) -> list[dict[str, Tensor]]:
    """The measures of samples that are drawn chunk by chunk, for each output.

    Args:
        draw: takes the first sample and a number of samples, and draws these samples of
            each output.
        outputs: what the outputs look like.
        task: which quantiles to compute, and whether to return the samples.
        rows: the number of inputs.
        samples: the number of samples.
        at_once: the number of samples to draw at once.
    """
    store = task.return_samples or bool(task.quantiles)

    def step(first: Tensor, moments: Any, stored: Any) -> Any:
        drawn = draw(first, tf.minimum(at_once, samples - first))
        moments = [
            merged(m, moments_of(tf.cast(y, tf.float64), output.kind))
            for m, y, output in zip(moments, drawn, outputs, strict=True)
        ]
        if store:
            stored = [
                array.write(first // at_once, tf.experimental.numpy.swapaxes(y, 0, 1))
                for array, y in zip(stored, drawn, strict=True)
            ]
        return first + at_once, moments, stored

    heights = [rows * o.rows.numerator // o.rows.denominator for o in outputs]
    moments = [
        no_samples([n, *o.shape], o.kind) for n, o in zip(heights, outputs, strict=True)
    ]
    stored = [
        tf.TensorArray(o.dtype, -(-samples // at_once), infer_shape=False)
        for o in outputs
        if store
    ]
    _, moments, stored = tf.while_loop(
        lambda first, *_: first < samples, step, (tf.constant(0), moments, stored)
    )
    found = [
        {"proper": m.proper, **measures_of(m, o.kind)}
        for m, o in zip(moments, outputs, strict=True)
    ]
    for measured, array, output in zip(found, stored, outputs, strict=store):
        all_samples = tf.ensure_shape(array.concat(), [None, None, *output.shape])
        if task.quantiles:
            measured["quantiles"] = quantiles_of(all_samples, task.quantiles)
        if task.return_samples:
            measured["samples"] = all_samples
    return found


# Moments and measures -----------------------------------------------------------------


class Moments(NamedTuple):
    """Sums over the samples of one output.

    Attributes:
        count: how many samples there are.
        mean: of the outputs.
        squares: sum of the squared distances from the mean.
        entropy: sum of the entropies; 0 for numbers.
        votes: how many samples have each class as the most probable; 0 for numbers.
        proper: whether all samples were distributions over classes.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    entropy: Tensor
    votes: Tensor
    proper: Tensor


def no_samples(shape: Sequence[Tensor], kind: Kind) -> Moments:
    """The moments, in float64, before any sample of an output of this shape."""
    nothing, zeros = tf.zeros((), tf.float64), tf.zeros(shape, tf.float64)
    if kind == NUMBERS:
        return Moments(nothing, zeros, zeros, nothing, nothing, tf.constant(False))
    votes = tf.zeros_like(probabilities(zeros, kind))
    entropies = tf.reduce_sum(votes, -1)
    return Moments(nothing, zeros, zeros, entropies, votes, tf.constant(True))


def moments_of(y: Tensor, kind: Kind) -> Moments:
    """The moments of samples `y` of shape `(rows, samples, *shape of a row)`."""
    count = tf.cast(y.shape[1] or tf.shape(y)[1], y.dtype)
    # Equal samples must have exactly their value as the mean, so that `std` is 0.
    mean = y[:, 0] + tf.reduce_mean(y - y[:, :1], 1)
    squares = tf.reduce_sum(tf.square(y - mean[:, tf.newaxis]), 1)
    if kind == NUMBERS:
        nothing = tf.zeros((), y.dtype)
        return Moments(count, mean, squares, nothing, nothing, tf.constant(False))
    p = probabilities(y, kind)
    winners = tf.one_hot(tf.argmax(p, -1), tf.shape(p)[-1], dtype=p.dtype)
    return Moments(
        count,
        mean,
        squares,
        tf.reduce_sum(entropy(p), 1),
        tf.reduce_sum(winners, 1),
        is_distribution(p),
    )


def merged(some: Moments, others: Moments) -> Moments:
    """The moments of two groups of samples together.

    By Chan's rule: a running sum of squares would lose all its digits where the mean is
    large and the standard deviation small.
    """
    count = some.count + others.count
    delta = others.mean - some.mean
    fraction = others.count / count
    return Moments(
        count,
        some.mean + delta * fraction,
        some.squares + others.squares + tf.square(delta) * some.count * fraction,
        some.entropy + others.entropy,
        some.votes + others.votes,
        some.proper & others.proper,
    )


def measures_of(moments: Moments, kind: Kind) -> dict[str, Tensor]:
    """The measures that `MCPrediction` names, of one output.

    The class measures mean something only where all samples were distributions, which
    the moments' `proper` says.
    """
    found = {"mean": moments.mean, "std": tf.sqrt(moments.squares / moments.count)}
    if kind == NUMBERS:
        return found
    total = entropy(probabilities(moments.mean, kind))
    expected = moments.entropy / moments.count
    return {
        **found,
        "entropy": total,
        "expected_entropy": expected,
        # Never negative in exact arithmetic.
        "mutual_information": tf.maximum(total - expected, 0.0),
        "variation_ratio": 1.0 - tf.reduce_max(moments.votes, -1) / moments.count,
    }


def quantiles_of(samples: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles along the first axis, linear between neighbours as NumPy's."""
    ordered = tf.sort(tf.cast(samples, tf.float64), axis=0)
    last = tf.shape(ordered)[0] - 1
    place = tf.constant(levels, tf.float64) * tf.cast(last, tf.float64)
    below = tf.cast(tf.floor(place), tf.int32)
    low = tf.gather(ordered, below)
    high = tf.gather(ordered, tf.minimum(below + 1, last))
    part = place - tf.floor(place)
    return low + (high - low) * tf.reshape(part, [-1] + [1] * (len(low.shape) - 1))


def kind_of(shape: Sequence[int], sigmoid: bool) -> Kind:
    """What an output may hold, by its shape (rows included) and its activation."""
    if len(shape) < 2 or (shape[-1] == 1 and not sigmoid):
        return NUMBERS
    return ONE_OF_TWO if shape[-1] == 1 else CLASSES


def is_distribution(p: Tensor) -> Tensor:
    """Whether the entries along the last axis are probabilities that add up to 1.

    A row with NaN says nothing about that, and the others keep their measures.
    """
    # In half precision the sum of a softmax is 1 to about 1e-3 only.
    off = tf.abs(tf.reduce_sum(p, -1) - 1) >= 1e-2
    return ~(tf.reduce_any(p < 0) | tf.reduce_any(off))


def probabilities(y: Tensor, kind: Kind) -> Tensor:
    """Outputs as a distribution over classes along the last axis."""
    return tf.concat([1.0 - y, y], -1) if kind == ONE_OF_TWO else y


def entropy(p: Tensor) -> Tensor:
    """-Σ p ln p over the last axis, where 0 ln 0 is 0."""
    # Not `xlogy`, which TFLite lacks.
    smallest = np.finfo(p.dtype.as_numpy_dtype).tiny
    return -tf.reduce_sum(p * tf.math.log(tf.maximum(p, smallest)), -1)
