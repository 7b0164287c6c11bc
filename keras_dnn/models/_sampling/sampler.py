"""The compiled sampling behind `mc_predict`.

The part of the model before the first randomness runs once for a batch. What the other
part takes from it is repeated, a row for each sample of each input, as many at once as
memory allows. The other part runs on these rows inside one compiled function, which
keeps the moments of its outputs and forgets the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._keras.graph import output_layers
from keras_dnn._keras.layers import sublayers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._sampling.cut import Cut, rows_of, spec
from keras_dnn.models._sampling.measures import Output, Task, gathered
from keras_dnn.models._sampling.random_stream import (
    COHERENT,
    INDEPENDENT,
    Chunk,
    Seed,
    Stream,
)
from keras_dnn.models._sampling.split import split
from keras_dnn.models._sampling.switched_on import masks_in_weights, only, settings

ROWS = 2048
"""Limit on the rows (samples x inputs) that the random part runs on at once."""

ELEMENTS = 2**24
"""Limit on the elements of a tensor in that part, if its shape is known."""

Function = Callable[..., list[dict[str, Tensor]]]


class Plan(NamedTuple):
    """How a batch is sampled; decided before anything is compiled for it.

    Attributes:
        outputs: the properties of the model's outputs.
        divisible: whether each input has rows of its own, so that any number of inputs
            and samples can be run at once. If not, a sample is one of an entire batch.
        inputs: the number of inputs that are run at once.
        samples: the number of samples of each that are run at once.
    """

    outputs: Sequence[Output]
    divisible: bool
    inputs: int
    samples: int

    @property
    def one_by_one(self) -> bool:
        """Whether samples come one by one, so that no input need be repeated."""
        return self.samples == 1


class Request(NamedTuple):
    """The arguments of the compiled function: inputs, and what to draw for them.

    Attributes:
        cut: what the random part takes for these inputs.
        rows: the number of these inputs.
        first_row: position of the first of them among all inputs.
        samples: the number of samples to draw.
        at_once: how many of them to draw at once.
        seed: of all random numbers.
    """

    cut: Cut
    rows: Tensor
    first_row: Tensor
    samples: Tensor
    at_once: Tensor
    seed: Seed


class Sampler:
    """The compiled functions of one model with one choice of random layers."""

    def __init__(self, model: keras.Model, on: Sequence[keras.layers.Layer]) -> None:
        self.model = model
        self.on = on
        self.split = split(model, on)
        self._before: dict[str, Callable[..., Cut]] = {}
        self._layouts: dict[str, tuple[list[Output], bool]] = {}
        self._sampling: dict[Any, Function] = {}

    def sample(
        self, x: Any, first_row: int, task: Task, seed: Seed
    ) -> list[list[dict[str, np.ndarray]]]:
        """The measures of each output, for one group of a batch's inputs after another.

        Args:
            x: a batch of inputs.
            first_row: position of the first of them among all inputs.
            task: what to do.
            seed: of all random numbers.
        """
        rows = rows_of(x)
        cut = self.cut(x)
        plan = self.plan(x, cut, task)
        function = self.sampling(x, cut, plan, task)
        found = []
        for start in range(0, rows, plan.inputs):
            request = Request(
                cut.part(start, start + plan.inputs, rows),
                tf.constant(min(plan.inputs, rows - start)),
                tf.constant(first_row + start, tf.int64),
                tf.constant(task.samples),
                tf.constant(plan.samples),
                seed,
            )
            outputs = function(request)
            found.append([{k: v.numpy() for k, v in o.items()} for o in outputs])
        return found

    def cut(self, x: Any) -> Cut:
        """What the random part takes, which is the same in every sample."""
        self.split.check_rows(x)
        structure = keras.tree.map_structure(spec, x)
        key = str(structure)
        if key not in self._before:
            self.split.check_shapes(x)

            def before(given: list[Tensor]) -> Cut:
                parts = iter(given)
                return self.split.run_before(
                    keras.tree.map_structure(
                        lambda part: None if part is None else next(parts), structure
                    )
                )

            with only(self.on, self.model):
                self._before[key] = compiled(before, _without_none(structure))
        given = tf.nest.flatten(_without_none(x), expand_composites=True)
        return self._before[key](*given)

    def plan(self, x: Any, cut: Cut, task: Task) -> Plan:
        """How to divide a batch into what is run at once."""
        outputs, divisible = self._layout(x, cut)
        rows = rows_of(x)
        if not (divisible and cut.can_be_divided(rows)):
            return Plan(outputs, divisible=False, inputs=rows, samples=1)
        budget = max(1, min(ROWS, ELEMENTS // self.split.largest_row))
        # Where inputs share their masks, many inputs cost least; else many samples do.
        inputs = max(1, budget // task.samples)
        if task.masks == COHERENT:
            inputs = max(budget, ROWS // 8)
        inputs = min(rows, inputs)
        samples = min(task.samples, max(1, budget // inputs))
        return Plan(outputs, divisible=True, inputs=inputs, samples=samples)

    def _layout(self, x: Any, cut: Cut) -> tuple[list[Output], bool]:
        """The properties of the outputs, and whether inputs have rows of their own.

        One sample of the batch shows both, the latter by the shapes of its masks.
        """
        key = str(keras.tree.map_structure(spec, x))
        if key not in self._layouts:
            stream, rows = Stream(), rows_of(x)
            zero = tf.constant(0, tf.int64)
            batch = Chunk(
                seed=Seed.of(0, 1, INDEPENDENT),
                masks=INDEPENDENT,
                samples=zero,
                first_sample=zero,
                size=1,
                first_row=zero,
                rows=rows,
                divisible=False,
            )

            def one_sample(cut: Cut) -> list[Tensor]:
                stream.begin(batch)
                return self.split.run_after(cut, x)

            with only(self.on, self.model, stream):
                function = compiled(one_sample, cut.each(spec))
            drawn = function(cut)
            if not stream.draws:
                raise ValueError(_nothing_drawn(self.model, self.on))
            ends: list[Any] = [None] * len(drawn)
            if self.split.graph is not None:
                ends = output_layers(self.model)
            outputs = [Output.of(y, e, rows) for y, e in zip(drawn, ends, strict=True)]
            whole_rows = all(o.rows.denominator == 1 for o in outputs)
            divisible = stream.by_row and whole_rows and not self.split.fixed_rows
            self._layouts[key] = outputs, divisible
        return self._layouts[key]

    def sampling(self, x: Any, cut: Cut, plan: Plan, task: Task) -> Function:
        """The compiled function that samples, for any number of such inputs."""
        specs = cut.each(spec)
        fixed_rows = rows_of(x) if self.split.fixed_rows else None
        key = (str(specs), plan.divisible, plan.one_by_one, fixed_rows, *task[2:])
        if key in self._sampling:
            return self._sampling[key]
        stream = Stream()

        def function(request: Request) -> list[dict[str, Tensor]]:
            rows = fixed_rows or request.rows

            def draw(first: Tensor, size: Tensor) -> list[Tensor]:
                """The samples from the first one on, of each output."""
                size = 1 if plan.one_by_one else size
                stream.begin(
                    Chunk(
                        seed=request.seed,
                        masks=task.masks,
                        samples=tf.cast(request.samples, tf.int64),
                        first_sample=tf.cast(first, tf.int64),
                        size=size,
                        first_row=request.first_row,
                        rows=rows,
                        divisible=plan.divisible,
                    )
                )
                cut = request.cut
                if not plan.one_by_one:
                    cut = cut.repeated(rows, size)
                coherent = task.masks == COHERENT
                in_weights = coherent and plan.divisible and plan.one_by_one
                with masks_in_weights(self.split.pairs if in_weights else (), stream):
                    drawn = self.split.run_after(cut, x)
                return [
                    output.by_sample(y, rows, size)
                    for y, output in zip(drawn, plan.outputs, strict=True)
                ]

            return gathered(
                draw,
                plan.outputs,
                task,
                rows=rows,
                samples=request.samples,
                at_once=request.at_once,
            )

        integer, long = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.int64)
        seed = Seed(tf.TensorSpec((), tf.uint64), tf.TensorSpec(None, tf.uint16))
        signature = Request(specs, integer, long, integer, integer, seed)
        with only(self.on, self.model, stream):
            self._sampling[key] = compiled(function, signature)
        return self._sampling[key]


def _without_none(x: Any) -> list[Any]:
    """The inputs in a list, without optional ones that are left out."""
    return [part for part in keras.tree.flatten(x) if part is not None]


def compiled(function: Callable[..., Any], signature: Any) -> Any:
    """The function of one argument, traced as Keras traces `predict`."""
    return tf.function(
        function, input_signature=(signature,), autograph=False
    ).get_concrete_function()


def _nothing_drawn(model: keras.Model, on: Sequence[keras.layers.Layer]) -> str:
    return (
        "model must call the layers that are to be sampled from when it predicts. "
        f"Received: model={model.name!r}, which calls none of {[x.name for x in on]}"
    )


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
