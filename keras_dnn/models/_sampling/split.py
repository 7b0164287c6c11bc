"""A model in two parts: what is the same in every sample, and what is random."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

import keras

from keras_dnn._keras.graph import Graph, Node, flat_inputs, graph_of, run
from keras_dnn._keras.layers import (
    is_keras_layer,
    is_stateful,
    rows_of_states,
    sublayers,
)
from keras_dnn._keras.prediction import has_own
from keras_dnn._typing import Tensor
from keras_dnn.layers import MCDropout
from keras_dnn.models._sampling.cut import Cut, rows_of
from keras_dnn.models._sampling.switched_on import Pair

Layers: TypeAlias = Collection[keras.layers.Layer]


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A model in two parts, of which the first runs once for all samples.

    Attributes:
        model: the model.
        graph: its calls; `None` if it has no graph or a `predict_step` of its own, and
            then all of it is random.
        before: the calls that no randomness reaches.
        after: the calls of random layers and those that take what these return.
        cut_set: the symbolic tensors that the second part takes from the first; in a
            network with shortcuts there are several.
        fixed_rows: whether an operation of the model may hold a number of rows, so that
            batches must not be divided or repeated.
        largest_row: elements in a row of the largest tensor of the second part, as far
            as they are known.
        rows_of_states: the batch size of stateful recurrent layers, if there are any.
        pairs: dropout layers with the dense layers whose weights can take their masks.
    """

    model: keras.Model
    graph: Graph | None
    before: Sequence[Node] = ()
    after: Sequence[Node] = ()
    cut_set: Sequence[Tensor] = ()
    fixed_rows: bool = False
    largest_row: int = 1
    rows_of_states: int | None = None
    pairs: Sequence[Pair] = ()

    def check_rows(self, x: Any) -> None:
        """Raises a `ValueError` where the model has states of another batch size."""
        rows = rows_of(x)
        if self.rows_of_states not in (None, rows):
            raise ValueError(
                f"batch_size must be {self.rows_of_states}, and the inputs a multiple "
                f"of it: the model {self.model.name!r} is stateful, with a state for "
                f"each row of a batch. Received: a batch of {rows} inputs"
            )

    def check_shapes(self, x: Any) -> None:
        """Raises a `ValueError` where the model does not take inputs of such shapes."""
        if self.graph is None:
            return
        pairs = zip(flat_inputs(self.model, x), self.graph.inputs, strict=True)
        given = [(tensor, symbol) for tensor, symbol in pairs if tensor is not None]
        shapes = [tuple(tensor.shape) for tensor, _ in given]
        wanted = [(None, *symbol.shape[1:]) for _, symbol in given]
        for shape, taken in zip(shapes, wanted, strict=True):
            lengths = zip(shape, taken, strict=True)
            if any(None not in pair and pair[0] != pair[1] for pair in lengths):
                raise ValueError(
                    f"x must hold inputs of shape {_listed(wanted)}, as the model "
                    f"{self.model.name!r} takes them. Received: shape {_listed(shapes)}"
                )

    def run_before(self, x: Any) -> Cut:
        """What the second part takes for the inputs `x`."""
        if self.graph is None:
            return Cut.of(keras.tree.flatten(x))
        inputs = flat_inputs(self.model, x)
        values = dict(zip(map(id, self.graph.inputs), inputs, strict=True))
        run(self.before, values)
        return Cut.of([values[id(symbol)] for symbol in self.cut_set])

    def run_after(self, cut: Cut, x: Any) -> list[Tensor]:
        """One sample of the outputs; `x` shows the structure of the inputs."""
        if self.graph is None:
            taken = cut.masked_values(len(keras.tree.flatten(x)))
            inputs = keras.tree.pack_sequence_as(x, taken)
            return list(keras.tree.flatten(self.model.predict_step((inputs,))))
        taken = cut.masked_values(len(self.cut_set))
        values = dict(zip(map(id, self.cut_set), taken, strict=True))
        run(self.after, values)
        return [values[id(symbol)] for symbol in self.graph.outputs]


def _listed(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return ", ".join(map(str, shapes))


def split(model: keras.Model, random: Layers) -> Split:
    """Splits a model where randomness enters it.

    All of the model is taken as random if a tensor of the cut set would not have a row
    for each input.

    Args:
        model: any model.
        random: its random layers, wherever in the model they are.

    Raises:
        ValueError: if a stateful recurrent layer would be sampled from.
    """
    graph = None if has_own(model, "predict_step") else graph_of(model)
    if graph is None:
        _refuse_stateful([model])
        return Split(model, None)
    before, after = _parts(graph, random)
    cut_set = _cut_set(graph, after)
    batch_sizes = {x.shape[0] for x in graph.inputs}
    fixed_rows = batch_sizes != {None} and _has_operations(graph)
    if not (fixed_rows or all(x.shape and x.shape[0] in batch_sizes for x in cut_set)):
        before, after, cut_set = [], list(graph.nodes), list(graph.inputs)
    _refuse_stateful([node.operation for node in after])
    tensors = [*cut_set, *(x for node in after for x in node.outputs)]
    return Split(
        model,
        graph,
        before,
        after,
        cut_set,
        fixed_rows=fixed_rows,
        rows_of_states=rows_of_states(model),
        largest_row=max(math.prod(n or 1 for n in x.shape[1:]) for x in tensors),
        pairs=_pairs(graph, random),
    )


def _parts(graph: Graph, random: Layers) -> tuple[list[Node], list[Node]]:
    """The calls that no randomness reaches, and those that it does."""
    random_ids = {id(layer) for layer in random}
    before: list[Node] = []
    after: list[Node] = []
    reached: set[int] = set()
    for node in graph.nodes:
        if any(id(x) in reached for x in node.inputs) or any(
            id(layer) in random_ids for layer in sublayers(node.operation)
        ):
            after.append(node)
            reached.update(id(x) for x in node.outputs)
        else:
            before.append(node)
    return before, after


def _cut_set(graph: Graph, after: Sequence[Node]) -> list[Tensor]:
    """What these calls, and the model's outputs, take from the calls before."""
    made = {id(x) for node in after for x in node.outputs}
    needed = [x for node in after for x in node.inputs] + list(graph.outputs)
    return list({id(x): x for x in needed if id(x) not in made}.values())


def _has_operations(graph: Graph) -> bool:
    """Whether a graph, or one nested in it, calls something else than layers.

    Layers take any number of rows, whatever batch size the graph was made with. An
    operation may hold that size, as in `ops.reshape(x, (32, -1))`.
    """
    for operation in (node.operation for node in graph.nodes):
        inner = graph_of(operation)
        if inner is not None and _has_operations(inner):
            return True
        if not isinstance(operation, keras.layers.Layer):
            return True
    return False


def _refuse_stateful(operations: Iterable[Any]) -> None:
    for operation in operations:
        for layer in sublayers(operation):
            if is_stateful(layer):
                raise ValueError(
                    f"The recurrent layer {layer.name} is stateful and random, so each "
                    "sample would begin where the last one ended. Sample from a model "
                    "built with stateful=False. Received: stateful=True"
                )


# Masks in weights ---------------------------------------------------------------------


def _pairs(graph: Graph, random: Layers) -> list[Pair]:
    """Dropouts of single units whose only consumer is a dense layer used once.

    None where an operation may have made several rows of one, which have masks of their
    own: Keras's layers keep rows as they are.
    """
    if not all(_keeps_rows(node.operation) for node in graph.nodes):
        return []
    random_ids = {id(layer) for layer in random}
    calls: dict[int, list[Node]] = {}
    for node in graph.nodes:
        calls.setdefault(id(node.operation), []).append(node)
    found = []
    for node, *others in calls.values():
        layer = node.operation
        if others or id(layer) not in random_ids or not _drops_units(layer):
            continue
        (output,) = node.outputs
        consumers = graph.consumers(output)
        # A model may also have it as an output, which needs the mask itself.
        returned = any(output is x for x in graph.outputs)
        if len(output.shape) == 2 and len(consumers) == 1 and not returned:
            dense = consumers[0].operation
            if _is_plain_dense(dense) and len(calls[id(dense)]) == 1:
                found.append((layer, dense))
    return found


def _keeps_rows(operation: Any) -> bool:
    return (
        is_keras_layer(operation) and not isinstance(operation, keras.layers.Lambda)
    ) or type(operation).__module__.startswith("keras_dnn.layers.")


def _drops_units(layer: Any) -> bool:
    kinds = (keras.layers.Dropout, MCDropout)
    return type(layer) in kinds and layer.noise_shape is None


def _is_plain_dense(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Dense
        and not getattr(layer, "lora_enabled", False)
        and not getattr(layer, "quantization_mode", None)
    )
