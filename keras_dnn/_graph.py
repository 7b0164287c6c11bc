"""The graph of a Keras model, behind one door.

Keras keeps it in private attributes. Nothing else in this package touches those, so a
change in Keras shows here, and `tests/test_graph.py` says what changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import keras
from keras.src.applications import convnext
from keras.src.models import Functional

from keras_dnn._typing import Tensor


@dataclasses.dataclass(frozen=True)
class Node:
    """One call of a layer or operation in a model."""

    operation: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    _arguments: Any

    @property
    def data(self) -> Any:
        """The first argument: what a layer works on, while others may be its mask."""
        given = (*self._arguments.args, *self._arguments.kwargs.values())
        return self._arguments.kwargs.get("inputs", given[0])

    def arguments(
        self, values: dict[int, Tensor]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call's arguments, with `values[id(tensor)]` for each symbolic one."""
        args, kwargs = self._arguments.fill_in(values)
        return args, kwargs

    @property
    def training(self) -> Any:
        """What the call itself was given as `training`, whatever the model is."""
        return self._arguments.kwargs.get("training")


@dataclasses.dataclass(frozen=True)
class Graph:
    """The calls that lead from a model's inputs to its outputs, in order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    input_structure: Any
    output_structure: Any

    def consumers(self, tensor: Tensor) -> list[Node]:
        """The calls that take this tensor."""
        return [n for n in self.nodes if any(x is tensor for x in n.inputs)]


def graph_of(model: Any) -> Graph | None:
    """The graph of a functional model or a built Sequential; `None` of anything else.

    A subclass that writes its own `call` has no graph that tells what it computes.
    """
    if isinstance(model, keras.Sequential):
        if type(model).call is not keras.Sequential.call:
            return None
        model = model._functional
    if not isinstance(model, Functional) or type(model).call is not Functional.call:
        return None
    by_depth = model._nodes_by_depth
    nodes = [
        Node(
            node.operation,
            tuple(node.input_tensors),
            tuple(node.outputs),
            node.arguments,
        )
        for depth in sorted(by_depth, reverse=True)
        for node in by_depth[depth]
        if not node.is_input
    ]
    return Graph(
        tuple(model.inputs),
        tuple(model.outputs),
        tuple(nodes),
        model._inputs_struct,
        model._outputs_struct,
    )


def output_layers(model: Any) -> list[Any]:
    """The layer or operation each output comes from, inside nested models too."""
    graph = graph_of(model)
    if graph is None:
        return []
    found = []
    for tensor in graph.outputs:
        node = next(
            (n for n in graph.nodes if any(tensor is x for x in n.outputs)), None
        )
        operation = node.operation if node else None
        inner = output_layers(operation)
        if node and inner:
            operation = inner[[x is tensor for x in node.outputs].index(True)]
        found.append(operation)
    return found


def input_layer(tensor: Tensor) -> keras.layers.InputLayer:
    """The layer that a model's symbolic input comes from."""
    layer: keras.layers.InputLayer = tensor._keras_history.operation
    return layer


def flat_inputs(model: Any, x: Any) -> list[Tensor]:
    """`x` as the model's flat list of inputs, of the dtypes and ranks it expects."""
    if isinstance(model, keras.Sequential):
        model = model._functional
    inputs: list[Tensor] = model._standardize_inputs(x)
    return inputs


def sublayers(layer: Any) -> Iterator[keras.layers.Layer]:
    """The layer itself, if it is one, and all layers inside it, each once."""
    if isinstance(layer, keras.layers.Layer):
        seen: set[int] = set()
        for sublayer in layer._flatten_layers(include_self=True, recursive=True):
            if id(sublayer) not in seen:
                seen.add(id(sublayer))
                yield sublayer


def states(layer: keras.layers.Layer) -> list[keras.Variable]:
    """What a layer itself moves in a call: statistics, states, and its seeds."""
    seeds = [generator.state for generator in layer._seed_generators]
    return [*layer._non_trainable_variables, *seeds]


def global_seed() -> list[keras.Variable]:
    """The state of Keras's global generator, if anything has drawn from it."""
    state = keras.src.backend.common.global_state
    generator = state.get_global_attribute("global_seed_generator")
    return [] if generator is None else [generator.state]


def loss_weights_of(model: keras.Model) -> Any:
    """What `compile` was given as `loss_weights`."""
    return getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)


def forget_global_seed() -> None:
    """Makes Keras's global generator one that nothing has drawn from."""
    state = keras.src.backend.common.global_state
    state.set_global_attribute("global_seed_generator", None)


def random_functions() -> Any:
    """The module whose `dropout`, `normal` and `uniform` Keras's layers call."""
    return keras.src.backend.random


def sublayers_of(
    model: Any, choice: str | keras.layers.Layer
) -> list[keras.layers.Layer]:
    """The layers of this name, or this layer, in a model, and all layers inside it."""
    found = {
        id(sublayer): sublayer
        for layer in sublayers(model)
        if choice is layer or choice == layer.name
        for sublayer in sublayers(layer)
    }
    return list(found.values())


def layer_scale() -> type[keras.layers.Layer]:
    """The layer of ConvNeXt that multiplies each channel by a weight."""
    scale: type[keras.layers.Layer] = convnext.LayerScale
    return scale


def in_float64(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The same layer with the same variables, which computes in float64.

    It reads a variable of another float type as float64. No call of it, which must be
    in inference mode, leaves anything on the layer given.
    """
    view: keras.layers.Layer = object.__new__(type(layer))
    vars(view).update(vars(layer))
    policy = keras.DTypePolicy("float32")
    policy._compute_dtype = "float64"
    vars(view).update(_dtype_policy=policy, activity_regularizer=None)
    vars(view).update(_losses=[], _loss_ids=set())
    return view


def has_seeds(layer: keras.layers.Layer) -> bool:
    """Whether the layer itself draws random numbers in some mode."""
    return bool(layer._seed_generators)


def has_training_argument(operation: Any) -> bool:
    """Whether a call of it takes `training`."""
    return bool(getattr(operation, "_call_has_training_arg", False))


def run(nodes: Iterable[Node], values: dict[int, Tensor]) -> None:
    """Makes the calls in inference mode, adding what they return to `values`."""
    for node in nodes:
        args, kwargs = node.arguments(values)
        if has_training_argument(node.operation):
            kwargs = {**kwargs, "training": False}
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        for symbol, value in zip(node.outputs, outputs, strict=True):
            values[id(symbol)] = value
