"""The graph of a Keras model: the calls that lead from its inputs to its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
from keras.src.models import Functional

from keras_dnn._keras.layers import has_training_argument
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


def required_graph(model: Any) -> Graph:
    """The graph of a model that has to have one.

    Raises:
        ValueError: if its graph is not known, with the model inside that has one.
    """
    graph = graph_of(model)
    if graph is not None:
        return graph
    if type(model) is keras.Sequential:
        remedy = "Call it on a batch to build it"
    else:
        remedy = f"Give {functional_inside(model)}"
    raise ValueError(
        "model must be functional or a built Sequential, since the graph of a "
        f"subclassed model is not known. {remedy}. Received: model={model!r}"
    )


def functional_inside(model: Any) -> str:
    """Names the functional model to give in place of one that cannot be cut."""
    if graph_of(model) is not None:
        return "keras.Model(model.inputs, model.outputs)"
    held = getattr(model, "__dict__", {}).items()
    names = [name for name, value in held if graph_of(value) is not None]
    if not names:
        return "a functional model of its layers"
    return f"the functional model inside, model.{names[0]}"


def hides_its_graph(model: Any) -> bool:
    """Whether a model computes by a graph that its own `call` hides.

    The calls in such a graph hold the layers themselves.
    """
    return isinstance(model, Functional) and graph_of(model) is None


def is_made_like_keras(model: keras.Model) -> bool:
    """Whether the model's class has a constructor of Keras, with tensors or layers.

    Such a class may override methods, such as `train_step`.
    """
    constructor = type(model).__init__
    if isinstance(model, keras.Sequential):
        return bool(constructor is keras.Sequential.__init__)
    return constructor in (keras.Model.__init__, Functional.__init__)


def class_of(model: keras.Model) -> type[keras.Model]:
    """What creates a model like this one from tensors, or from layers if Sequential."""
    kind: type[keras.Model] = type(model)
    if not is_made_like_keras(model) or kind is Functional:
        kind = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    return kind


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


def source_of(operation: Any) -> Any:
    """The operation whose output this one takes first, in its first symbolic call.

    `None` if it was called on arrays only, or takes the input of a model.
    """
    taken = keras.tree.flatten(getattr(operation, "input", None))
    history = getattr(taken[0], "_keras_history", None) if taken else None
    return None if history is None else history.operation


def flat_inputs(model: Any, x: Any) -> list[Tensor]:
    """`x` as the model's flat list of inputs, of the dtypes and ranks it expects."""
    if isinstance(model, keras.Sequential):
        model = model._functional
    inputs: list[Tensor] = model._standardize_inputs(x)
    return inputs


def run(nodes: Iterable[Node], values: dict[int, Tensor]) -> None:
    """Makes the calls in inference mode, adding what they return to `values`."""
    for node in nodes:
        args, kwargs = node.arguments(values)
        if has_training_argument(node.operation):
            kwargs = {**kwargs, "training": False}
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        for symbol, value in zip(node.outputs, outputs, strict=True):
            values[id(symbol)] = value
