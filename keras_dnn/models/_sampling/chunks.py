"""Samples of a model's outputs, gathered chunk by chunk inside the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._sampling.moments import (
    add_samples,
    no_samples,
    quantiles_of,
    summary,
)


class Output(NamedTuple):
    """What one output of a model looks like."""

    kind: str
    rows: Fraction
    """How many rows it has for each row of the inputs: 1 but in odd models."""
    shape: tuple[int, ...]
    dtype: Any


def gathered(
    draw: Callable[[Tensor, Tensor], list[Tensor]],
    rows: Tensor,
    samples: Tensor,
    size: Tensor,
    keep: bool,
    quantiles: Sequence[float],
    outputs: list[Output],
) -> list[dict[str, Tensor]]:
    """The measures of samples that are drawn chunk by chunk."""
    store = keep or bool(quantiles)

    def step(first: Tensor, moments: Any, kept: Any) -> Any:
        drawn = draw(first, tf.minimum(size, samples - first))
        moments = [
            add_samples(m, y, o.kind)
            for m, y, o in zip(moments, drawn, outputs, strict=True)
        ]
        if store:
            kept = [
                k.write(first // size, tf.experimental.numpy.swapaxes(y, 0, 1))
                for k, y in zip(kept, drawn, strict=True)
            ]
        return first + size, moments, kept

    heights = [rows * o.rows.numerator // o.rows.denominator for o in outputs]
    moments = [
        no_samples([n, *o.shape], o.kind) for n, o in zip(heights, outputs, strict=True)
    ]
    kept = [
        tf.TensorArray(o.dtype, -(-samples // size), infer_shape=False)
        for o in outputs
        if store
    ]
    _, moments, kept = tf.while_loop(
        lambda first, *_: first < samples, step, (tf.constant(0), moments, kept)
    )
    found = [summary(m, o.kind) for m, o in zip(moments, outputs, strict=True)]
    for measures, array, output in zip(found, kept, outputs, strict=store):
        all_samples = tf.ensure_shape(array.concat(), [None, None, *output.shape])
        if quantiles:
            measures["quantiles"] = quantiles_of(all_samples, quantiles)
        if keep:
            measures["samples"] = all_samples
    return found


def by_row(y: Tensor, rows: Tensor, size: Tensor, output: Output) -> Tensor:
    """An output with an axis for the samples behind that for its rows."""
    parts, *rest = output.rows.as_integer_ratio()
    if rest != [1]:
        return y[:, tf.newaxis]
    y = tf.reshape(y, [rows, size, parts, *output.shape])
    if parts == 1:
        return y[:, :, 0]
    y = tf.experimental.numpy.swapaxes(y, 1, 2)
    return tf.reshape(y, [rows * parts, size, *output.shape])
