"""The compiled sampling behind `mc_predict`: cut, tile in chunks, keep statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._graph import output_layers, sublayers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._cut import Cut
from keras_dnn.models._randomness import only, rates
from keras_dnn.models._statistics import (
    add_samples,
    kind_of,
    no_samples,
    summary,
)

ROWS = 2048
"""Rows (samples x inputs) that the random part is run on at once."""


class Output(NamedTuple):
    """What one output of a model looks like."""

    kind: str
    rows: Fraction
    """How many rows it has for each row of the inputs: 1 but in odd models."""
    shape: tuple[int, ...]
    dtype: Any


class Sampler:
    """The compiled sampling of one model with one choice of random layers."""

    def __init__(self, model: keras.Model, on: Sequence[keras.layers.Layer]) -> None:
        self.model = model
        self.on = on
        self.cut = Cut(model, {id(layer) for layer in on})
        self.seeds = keras.random.SeedGenerator(0)
        self.compiled: dict[Any, Callable[..., Any]] = {}

    def sample(self, x: Any, samples: int, keep: bool) -> list[dict[str, np.ndarray]]:
        """The measures of each output, for one batch of inputs."""
        chunk = max(1, min(samples, ROWS // max(_rows(x), 1)))
        if self.cut.fixed_rows:
            chunk = 1
        function = self._compiled(x, keep)
        with only(self.on, self.model, self.seeds):
            found = function(x, samples, chunk)
        return [{k: v.numpy() for k, v in output.items()} for output in found]

    def _compiled(self, x: Any, keep: bool) -> Callable[..., Any]:
        """The function for inputs of these shapes and dtypes, with any rows."""
        signature = keras.tree.map_structure(
            lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), x
        )
        key = str(signature), keep
        if key not in self.compiled:
            outputs = self._outputs(x)
            number = tf.TensorSpec((), tf.int32)
            self.compiled[key] = tf.function(
                lambda x, samples, chunk: self._sample(
                    x, samples, chunk, keep, outputs
                ),
                input_signature=(signature, number, number),
            )
        return self.compiled[key]

    def _outputs(self, x: Any) -> list[Output]:
        with only([], self.model, self.seeds):
            outputs = keras.tree.flatten(self.model(x, training=False))
        ends = output_layers(self.model) or [None] * len(outputs)
        return [
            Output(
                kind_of(
                    y.shape,
                    getattr(end, "activation", None) is keras.activations.sigmoid,
                ),
                Fraction(int(y.shape[0]), max(_rows(x), 1)),
                tuple(y.shape[1:]),
                y.dtype,
            )
            for y, end in zip(outputs, ends, strict=True)
        ]

    def _sample(
        self,
        x: Any,
        samples: Tensor,
        chunk: Tensor,
        keep: bool,
        outputs: list[Output],
    ) -> list[dict[str, Tensor]]:
        frontier = self.cut.deterministic(x)
        given = tf.shape(keras.tree.flatten(x)[0])[0]
        rows = [given * o.rows.numerator // o.rows.denominator for o in outputs]
        chunks = -(-samples // chunk)

        def draw(i: Tensor) -> list[Tensor]:
            size = tf.minimum(chunk, samples - i * chunk)
            drawn = self.cut.random([_tile(t, size) for t in frontier], x)
            return [
                tf.reshape(y, [size, n, *o.shape])
                for y, n, o in zip(drawn, rows, outputs, strict=True)
            ]

        def step(i: Tensor, moments: Any, kept: Any) -> Any:
            drawn = draw(i)
            if keep:
                kept = [k.write(i, y) for k, y in zip(kept, drawn, strict=True)]
            moments = [
                add_samples(m, y, o.kind)
                for m, y, o in zip(moments, drawn, outputs, strict=True)
            ]
            return i + 1, moments, kept

        moments = [
            no_samples([n, *o.shape], o.kind)
            for n, o in zip(rows, outputs, strict=True)
        ]
        kept = [
            tf.TensorArray(o.dtype, chunks, infer_shape=False) for o in outputs if keep
        ]
        _, moments, kept = tf.while_loop(
            lambda i, *_: i < chunks, step, (tf.constant(0), moments, kept)
        )
        found = [summary(m, o.kind) for m, o in zip(moments, outputs, strict=True)]
        for measures, array in zip(found, kept, strict=keep):
            measures["samples"] = array.concat()
        return found


def _rows(x: Any) -> int:
    return int(keras.tree.flatten(x)[0].shape[0])


def _tile(tensor: Tensor, times: Tensor) -> Tensor:
    """All rows, again and again."""
    ones = tf.ones([tf.rank(tensor) - 1], tf.int32)
    return tf.tile(tensor, tf.concat([[times], ones], 0))


def sampler_of(model: keras.Model, on: Sequence[keras.layers.Layer]) -> Sampler:
    """The sampler of this model and choice, kept with the model for the next call.

    A changed layer or dropout rate needs a new one: both are constants of the graph.
    """
    samplers = vars(model).setdefault("_keras_dnn_samplers", {})
    structure = tuple(id(layer) for layer in sublayers(model))
    key = structure, tuple((id(layer), rates(layer)) for layer in on)
    if key not in samplers:
        samplers[key] = Sampler(model, on)
    found: Sampler = samplers[key]
    return found
