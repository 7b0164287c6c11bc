"""The compiled sampling behind `mc_predict`: cut, tile in chunks, keep statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._keras.graph import output_layers
from keras_dnn._keras.layers import sublayers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.initializers._seeded import seeds
from keras_dnn.models._sampling.chunks import Output, by_row, gathered
from keras_dnn.models._sampling.moments import kind_of
from keras_dnn.models._sampling.random_stream import (
    COHERENT,
    STRATIFIED,
    Chunk,
    Stream,
    seed_key,
    strata,
)
from keras_dnn.models._sampling.shared_masks import foldable, folded
from keras_dnn.models._sampling.split import Cut
from keras_dnn.models._sampling.switched_on import only, settings

ROWS = 2048
"""Most rows (samples x inputs) that the random part is run on at once."""

NUMBERS = 2**24
"""Most numbers that a tensor in it is to hold then, if its shape is known."""


class Task(NamedTuple):
    """What is asked for."""

    samples: int
    seed: int | None
    masks: str
    keep: bool
    quantiles: tuple[float, ...]


class Draws(NamedTuple):
    """A task's random numbers."""

    key: Tensor
    strata: Tensor

    @classmethod
    def of(cls, task: Task) -> Draws:
        """Of this task; without a seed, `keras.utils.set_random_seed` governs."""
        # A `SeedGenerator` would make a variable, which takes a millisecond.
        seed = next(seeds(None)) if task.seed is None else task.seed
        table: Any = strata(task.samples, seed) if task.masks == STRATIFIED else []
        return cls(seed_key(seed), tf.constant(table, tf.uint16))


class Sampler:
    """The compiled sampling of one model with one choice of random layers."""

    def __init__(self, model: keras.Model, on: Sequence[keras.layers.Layer]) -> None:
        self.model = model
        self.on = on
        self.cut = Cut(model, {id(layer) for layer in on})
        self.foldable = foldable([*self.cut.before, *self.cut.after], on)
        self.whole = self.cut.fixed_rows
        """Whether a batch can't be divided, so that samples come one by one."""
        self.outputs: dict[str, list[Output]] = {}
        self.before: dict[str, Callable[..., Any]] = {}
        self.after: dict[Any, Callable[..., Any]] = {}

    def sample(
        self, x: Any, first_row: int, task: Task, draws: Draws
    ) -> list[list[dict[str, np.ndarray]]]:
        """The measures of each output, for one group of a batch's inputs after another.

        Args:
            x: a batch of inputs.
            first_row: position of the first of them among all inputs.
            task: what to do.
            draws: the task's random numbers.
        """
        rows = _rows(x)
        frontier = self._deterministic(x)
        self.whole |= any(t.shape[0] % rows for t in frontier)
        function = self._random(x, frontier, task)
        group, size = self._at_once(rows, task)
        found = []
        for start in range(0, rows, group):
            part = [_slice(t, start, start + group, rows) for t in frontier]
            outputs = function(
                part,
                tf.constant(min(group, rows - start)),
                tf.constant(first_row + start, tf.int64),
                tf.constant(task.samples),
                tf.constant(size),
                *draws,
            )
            found.append([{k: v.numpy() for k, v in o.items()} for o in outputs])
        return found

    def _at_once(self, rows: int, task: Task) -> tuple[int, int]:
        """How many inputs go together, and how many samples of each."""
        if self.whole:
            return rows, 1
        budget = max(1, min(ROWS, NUMBERS // self.cut.numbers_per_row))
        if task.masks == COHERENT:
            group = min(rows, max(budget, ROWS // 8))
            return group, min(task.samples, max(1, budget // group))
        group = max(1, min(rows, budget // task.samples))
        return group, min(task.samples, max(1, budget // group))

    # Tracing --------------------------------------------------------------------------

    def _deterministic(self, x: Any) -> list[Tensor]:
        """What is the same in every sample."""
        signature = keras.tree.map_structure(_spec, x)
        key = str(signature)
        if key not in self.before:
            with only(self.on, self.model):
                self.before[key] = tf.function(
                    self.cut.deterministic, input_signature=(signature,)
                ).get_concrete_function()
        return list(self.before[key](*keras.tree.flatten(x)))

    def _random(
        self, x: Any, frontier: list[Tensor], task: Task
    ) -> Callable[..., list[dict[str, Tensor]]]:
        """The function that samples, for inputs of these shapes with any rows."""
        outputs = self._outputs(x)
        single = self._at_once(_rows(x), task)[1] == 1
        key = (str(list(map(_spec, frontier))), task[2:], single, self.whole)
        if key not in self.after:
            stream = Stream()
            with only(self.on, self.model, stream):
                function = self._traced(x, frontier, task, outputs, single, stream)
            if not (stream.by_row or self.whole):
                # Some mask is the same for all inputs, or divides them otherwise.
                self.whole = True
                return self._random(x, frontier, task)
            self.after[key] = function
        return self.after[key]

    def _traced(
        self,
        x: Any,
        frontier: list[Tensor],
        task: Task,
        outputs: list[Output],
        single: bool,
        stream: Stream,
    ) -> Callable[..., Any]:
        fixed = _rows(x) if self.cut.fixed_rows else None
        whole = self.whole

        def function(
            frontier: list[Tensor],
            rows: Tensor,
            first_row: Tensor,
            samples: Tensor,
            size: Tensor,
            key: Tensor,
            table: Tensor,
        ) -> list[dict[str, Tensor]]:
            given = fixed or rows

            def draw(first: Tensor, number: Tensor) -> list[Tensor]:
                number = 1 if single else number
                stream.begin(
                    Chunk(
                        key=key,
                        masks=task.masks,
                        samples=tf.cast(samples, tf.int64),
                        first_sample=tf.cast(first, tf.int64),
                        size=number,
                        first_row=first_row,
                        rows=given,
                        strata=table,
                        whole=whole,
                    )
                )
                inputs = [t if single else tiled(t, given, number) for t in frontier]
                pairs = self.foldable if single and task.masks == COHERENT else []
                with folded([] if whole else pairs, stream):
                    drawn = self.cut.random(inputs, x)
                return [
                    by_row(y, given, number, o)
                    for y, o in zip(drawn, outputs, strict=True)
                ]

            return gathered(
                draw, given, samples, size, task.keep, task.quantiles, outputs
            )

        traced: Callable[..., Any] = tf.function(
            function,
            input_signature=(
                list(map(_spec, frontier)),
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.int64),
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.uint64),
                tf.TensorSpec(None, tf.uint16),
            ),
        ).get_concrete_function()
        return traced

    def _outputs(self, x: Any) -> list[Output]:
        key = str(keras.tree.map_structure(_spec, x))
        if key not in self.outputs:
            with only([], self.model):
                outputs = keras.tree.flatten(self.model(x, training=False))
            ends = output_layers(self.model) or [None] * len(outputs)
            self.outputs[key] = [
                Output(
                    kind_of(
                        y.shape,
                        getattr(end, "activation", None) is keras.activations.sigmoid,
                    ),
                    Fraction(int(y.shape[0]), _rows(x)),
                    tuple(y.shape[1:]),
                    y.dtype,
                )
                for y, end in zip(outputs, ends, strict=True)
            ]
            self.whole |= any(o.rows.denominator > 1 for o in self.outputs[key])
        return self.outputs[key]


def _rows(x: Any) -> int:
    return int(keras.tree.flatten(x)[0].shape[0])


def _spec(tensor: Tensor) -> tf.TensorSpec:
    """What is known of a tensor of any number of rows."""
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


def _slice(tensor: Tensor, start: int, end: int, rows: int) -> Tensor:
    """The part of a tensor that belongs to these of `rows` inputs."""
    if start == 0 and end >= rows:
        return tensor
    parts = tensor.shape[0] // rows
    return tensor[start * parts : end * parts]


def tiled(tensor: Tensor, rows: Tensor, times: Tensor) -> Tensor:
    """What belongs to each of `rows` inputs, so many times."""
    inner = [n or tf.shape(tensor)[i + 1] for i, n in enumerate(tensor.shape[1:])]
    parts = tf.reshape(tensor, [rows, 1, tf.shape(tensor)[0] // rows, *inner])
    times_each = tf.tile(parts, [1, times] + [1] * (len(inner) + 1))
    return tf.reshape(times_each, [-1, *inner])


def sampler_of(model: keras.Model, on: Sequence[keras.layers.Layer]) -> Sampler:
    """The sampler of this model and choice, kept with the model for the next call.

    A changed layer or dropout rate needs a new one: both are constants of the graph.
    """
    samplers = vars(model).setdefault("_keras_dnn_samplers", {})
    structure = tuple(id(layer) for layer in sublayers(model))
    key = structure, tuple((id(layer), settings(layer)) for layer in on)
    if key not in samplers:
        samplers[key] = Sampler(model, on)
    found: Sampler = samplers[key]
    return found
