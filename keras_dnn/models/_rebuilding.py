"""The engine behind all model surgery: a copy with some layers or calls changed."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from keras_dnn._keras.graph import (
    Graph,
    Node,
    class_of,
    graph_of,
    input_layer,
    required_graph,
)
from keras_dnn._keras.layers import shared_layers, sublayers
from keras_dnn._unchanged import same_randomness
from keras_dnn.models._layer_copy import (
    FloatDtype,
    LayerCopies,
    classes_of,
    default_dtype,
)

Layer: TypeAlias = keras.layers.Layer
Replace: TypeAlias = Callable[[Layer], Layer | Sequence[Layer] | None]
Change: TypeAlias = Callable[[Layer], "Layer | CopyOf | Sequence[Layer] | None"]
Fill: TypeAlias = Callable[[Layer, Layer], None]
Call: TypeAlias = tuple[int, int]

# How the message begins that Keras makes of an error in a call of a layer.
FAILED_CALL = "Exception encountered when calling"


@dataclasses.dataclass(frozen=True)
class CopyOf:
    """What takes the place of a layer: a copy of a layer, with its weights.

    Attributes:
        layer: the one that is replaced, or one inside it.
        inside: makes the layer that is to hold the copy; by default nothing does.
    """

    layer: Layer
    inside: Callable[[Layer], Layer] = lambda copy: copy


def call_key(model: keras.Model, node: Node) -> Call:
    """Identifies a call in a model; a model cut out of another shares its tensors."""
    return id(model), id(node.outputs[0])


def rebuilt(
    model: keras.Model,
    replace: Change = lambda layer: layer,
    *,
    dtype: FloatDtype | None = None,
    fill: Fill | None = None,
    calls: Mapping[Call, Sequence[Layer]] | None = None,
    copies: dict[int, Any] | None = None,
) -> keras.Model:
    """Returns a copy of a model with layers or single calls changed.

    Args:
        model: a model with a graph.
        replace: as for the public `rebuild`; it may return a `CopyOf` too.
        dtype: of the copied layers; by default their own.
        fill: called with each replaced layer and the one built in its place, to set
            the weights of the latter.
        calls: by `call_key`, the unbuilt layers that take the place of single calls,
            one after the other, whatever `replace` returns for their layer; none of
            them drops the call. Setting their weights is left to the caller.
        copies: filled with the copy of each layer, of those inside others too, by the
            id of the original.

    Raises:
        ValueError: if the model has no graph, or the change does not fit it.
    """
    with same_randomness():
        return rebuilt_by_user(
            model, replace, dtype=dtype, fill=fill, calls=calls, copies=copies
        )


def rebuilt_by_user(
    model: keras.Model,
    replace: Change,
    *,
    dtype: FloatDtype | None = None,
    fill: Fill | None = None,
    calls: Mapping[Call, Sequence[Layer]] | None = None,
    copies: dict[int, Any] | None = None,
) -> keras.Model:
    """As `rebuilt`; the seeds of two layers that `replace` makes are never equal."""
    rebuilding = _Rebuilding(model, replace, dtype, calls or {})
    try:
        with default_dtype(dtype), classes_of(model):
            copy = rebuilding.model(model)
    except ValueError as error:
        if not (rebuilding.replaced and str(error).startswith(FAILED_CALL)):
            raise
        lines = str(error).replace("\033[0m", "").splitlines()
        reason = next((x for x in lines if "expected" in x), lines[0])
        raise ValueError(
            "replace must return layers that fit those behind them, which have weights "
            "for the shapes they were built for: replace these too.\n"
            f"Received: {textwrap.shorten(reason, 300)}"
        ) from error
    rebuilding.copies.finish()
    if copies is not None:
        copies.update(rebuilding.copies.known)
    if fill is not None:
        for old, new in rebuilding.replaced:
            fill(old, new)
    return copy


@same_randomness()
def copied_whole(
    model: keras.Model,
    *,
    dtype: FloatDtype | None = None,
    copies: dict[int, Any] | None = None,
) -> keras.Model:
    """Returns a copy of a model of its own class, whose graph may not be known.

    One with a graph and a constructor of its own is created from its config, any other
    is copied as the object that it is.

    Args:
        model: any model.
        dtype: of the copied layers; by default their own.
        copies: as for `rebuilt`.

    Raises:
        ValueError: if it cannot be copied.
    """
    rebuilding = _Rebuilding(model, lambda layer: layer, dtype, {})
    with default_dtype(dtype), classes_of(model):
        copy: keras.Model = rebuilding.copies.whole_model(model)
    rebuilding.copies.finish()
    if copies is not None:
        copies.update(rebuilding.copies.known)
    for new, old in zip(sublayers(copy), sublayers(model), strict=True):
        new.trainable = old.trainable
    return copy


def timed_model(layer: Any) -> keras.Model | None:
    """The model with a graph that a `TimeDistributed` applies to each step, if any."""
    if type(layer) is not keras.layers.TimeDistributed:
        return None
    return layer.layer if graph_of(layer.layer) is not None else None


class _Rebuilding:
    """One pass over a model and the models nested in it."""

    def __init__(
        self,
        model: keras.Model,
        replace: Change,
        dtype: FloatDtype | None,
        calls: Mapping[Call, Sequence[Layer]],
    ) -> None:
        self.replace = replace
        self.calls = calls
        self.copies = LayerCopies(dtype, self._unchanged, shared_layers(model))
        self.replaced: list[tuple[Layer, Layer]] = []
        self._originals = {id(layer) for layer in sublayers(model)}
        self._new: dict[int, list[Any]] = {}

    def model(self, model: keras.Model) -> keras.Model:
        graph = required_graph(model)
        if isinstance(model, keras.Sequential):
            copy = self._sequential(model, graph)
        else:
            copy = self._functional(model, graph)
        copy.trainable = model.trainable
        self.copies.known[id(model)] = copy
        return copy

    def _unchanged(self, model: keras.Model) -> keras.Model:
        """A copy of a model that a layer holds, which `replace` is not asked about."""
        before = self.replace, self.calls
        self.replace, self.calls = (lambda layer: layer), {}
        copy = self.model(model)
        self.replace, self.calls = before
        return copy

    def _sequential(self, model: keras.Sequential, graph: Graph) -> keras.Model:
        own = {id(layer) for layer in model.layers}
        # The other nodes compute masks: Keras adds them again.
        nodes = [node for node in graph.nodes if id(node.operation) in own]
        layers = [x for node in nodes for x in self._in_place(model, node)]
        start = self._input(graph.inputs[0])
        return class_of(model)([start, *layers], name=model.name)

    def _functional(self, model: keras.Model, graph: Graph) -> keras.Model:
        tensors = {id(x): self._input(x).output for x in graph.inputs}
        for node in graph.nodes:
            outputs = _called(node, self._in_place(model, node), tensors)
            if len(outputs) != len(node.outputs):
                raise ValueError(
                    f"What takes the place of {node.operation.name!r} must return as "
                    f"many tensors. Received: {len(outputs)} for {len(node.outputs)}"
                )
            for old, new in zip(node.outputs, outputs, strict=True):
                tensors[id(old)] = new

        def copied(structure: Any) -> Any:
            return keras.tree.map_structure(lambda x: tensors[id(x)], structure)

        return class_of(model)(
            copied(graph.input_structure),
            copied(graph.output_structure),
            name=model.name,
        )

    def _input(self, tensor: Any) -> keras.layers.InputLayer:
        layer: keras.layers.InputLayer = self.copies.without_weights(
            input_layer(tensor)
        )
        layer.output.name = tensor.name
        return layer

    def _in_place(self, model: keras.Model, node: Node) -> Sequence[Any]:
        """What stands in the place of a call, one after the other."""
        key = call_key(model, node)
        if key in self.calls:
            return self.calls[key]
        old = node.operation
        if id(old) not in self._new:
            self._new[id(old)] = self._make(old)
        return self._new[id(old)]

    def _make(self, old: Any) -> list[Any]:
        if graph_of(old) is not None:
            return [self.copies.known.get(id(old)) or self.model(old)]
        inner = timed_model(old)
        if inner is not None and self._changes_calls_in(inner):
            config = {k: old.get_config()[k] for k in ("name", "trainable", "dtype")}
            return [keras.layers.TimeDistributed(self.model(inner), **config)]
        if not isinstance(old, keras.layers.Layer):
            return [self.copies.copy(old)]
        return [self.copies.copy(x) if x is old else x for x in self._chosen(old)]

    def _chosen(self, old: Layer) -> list[Layer]:
        """What `replace` puts in the place of a layer: the layer itself is copied."""
        answer = self.replace(old)
        if answer is None:
            return []
        if isinstance(answer, CopyOf):
            return [answer.inside(self.copies.copy(answer.layer))]
        chosen = list(answer) if isinstance(answer, list | tuple) else [answer]
        for layer in chosen:
            if not isinstance(layer, keras.layers.Layer):
                raise ValueError(
                    "replace must return a layer, a list of layers or None. "
                    f"Received: {answer!r} for the layer {old.name!r}"
                )
            if layer is not old and id(layer) in self._originals:
                raise ValueError(
                    "replace must return the layer that it was given or new ones, for "
                    "the copy shares nothing with the model. Received: the layer "
                    f"{layer.name!r} of the model for {old.name!r}"
                )
        if len(chosen) == 1 and chosen[0] is not old:
            self.replaced.append((old, chosen[0]))
        return chosen

    def _changes_calls_in(self, model: keras.Model) -> bool:
        changed = {owner for owner, _ in self.calls}
        return any(id(part) in changed for part in sublayers(model))


def _called(
    node: Node, operations: Sequence[Any], tensors: Mapping[int, Any]
) -> list[Any]:
    """The outputs of what stands in the place of a call."""
    if not operations:
        if id(node.data) not in tensors:
            raise ValueError(
                f"{node.operation.name!r} cannot be dropped, since it takes several "
                "tensors: replace it by a layer that makes one of them. Received: "
                f"replace returns None for a {type(node.operation).__name__}"
            )
        return [tensors[id(node.data)]]
    first, *others = operations
    args, kwargs = node.arguments(dict(tensors))
    outputs = first(*args, **kwargs)
    for operation in others:
        outputs = operation(outputs)
    return list(keras.tree.flatten(outputs))
