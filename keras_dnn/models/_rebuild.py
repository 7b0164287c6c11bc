"""The one engine behind all model surgery: a new model with some layers changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_dnn._keras.graph import Graph, Node, graph_of, input_layer
from keras_dnn._keras.layers import sublayers

Replace = Callable[[keras.layers.Layer], keras.layers.Layer | None]
Fill = Callable[[keras.layers.Layer, keras.layers.Layer], None]
Call = tuple[int, int]


def key_of(model: keras.Model, node: Node) -> Call:
    """What names a call in a model; a model cut out of another shares its tensors."""
    return id(model), id(node.outputs[0])


def rebuild(
    model: keras.Model,
    replace: Replace = lambda layer: layer,
    *,
    dtype: str | None = None,
    fill: Fill | None = None,
    calls: Mapping[Call, Sequence[keras.layers.Layer]] | None = None,
) -> keras.Model:
    """Returns a copy of a model with layers replaced or dropped.

    The copy shares nothing with the model: layers are created anew from their configs
    and get the same weights. Names, structure of inputs and outputs, nested models and
    layers used several times stay as they are. A layer that wraps another, such as
    `Bidirectional`, is copied as a whole.

    Args:
        model: a functional model or a built Sequential.
        replace: given each layer of the model, returns that very layer to have it
            copied, another unbuilt one to stand in its place, or `None` to drop it.
        dtype: of the copied layers, such as `"float64"`; by default their own.
        fill: given an old layer and what stands in its place, built by then, sets the
            weights; without it they are the caller's affair.
        calls: by `key_of`, the unbuilt layers that stand, one after the other, in the
            place of single calls, whatever `replace` says of their layer; none of them
            drops the call. Their weights too are the caller's affair.

    Raises:
        ValueError: if the model has no graph.
    """
    rebuilding = _Rebuilding(replace, dtype, calls or {})
    copy = rebuilding.model(model)
    rebuilding.copy_weights()
    if fill is not None:
        for old, new in rebuilding.replaced:
            fill(old, new)
    return copy


class _Rebuilding:
    def __init__(
        self,
        replace: Replace,
        dtype: str | None,
        calls: Mapping[Call, Sequence[keras.layers.Layer]],
    ) -> None:
        self.replace = replace
        self.dtype = dtype
        self.calls = calls
        self.initializers: list[tuple[Any, dict[str, Any]]] = []
        self.made: dict[int, Any] = {}
        self.copies: list[tuple[Any, Any]] = []
        self.replaced: list[tuple[Any, Any]] = []

    def model(self, model: keras.Model) -> keras.Model:
        graph = graph_of(model)
        if graph is None:
            raise ValueError(
                "The model must be functional or a built Sequential, since the graph "
                f"of a subclassed model is not known. Received: model={model}"
            )
        if isinstance(model, keras.Sequential):
            start = self._input(graph.inputs[0])
            layers = [x for node in graph.nodes for x in self._chain(model, node)]
            copy = keras.Sequential([start, *layers], name=model.name)
        else:
            copy = self._functional(model, graph)
        copy.trainable = model.trainable
        return copy

    def _functional(self, model: keras.Model, graph: Graph) -> keras.Model:
        tensors = {id(x): self._input(x).output for x in graph.inputs}
        for node in graph.nodes:
            chain = self._chain(model, node)
            if not chain:
                outputs = tensors[id(node.data)]
            else:
                args, kwargs = node.arguments(tensors)
                outputs = chain[0](*args, **kwargs)
            for operation in chain[1:]:
                outputs = operation(outputs)
            for old, new in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                tensors[id(old)] = new

        def copied(structure: Any) -> Any:
            return keras.tree.map_structure(lambda x: tensors[id(x)], structure)

        return keras.Model(
            copied(graph.input_structure),
            copied(graph.output_structure),
            name=model.name,
        )

    def _chain(self, model: keras.Model, node: Node) -> Sequence[Any]:
        """What stands in the place of a call, one after the other."""
        if key_of(model, node) in self.calls:
            return self.calls[key_of(model, node)]
        operation = self.operation(node.operation)
        return [] if operation is None else [operation]

    def _input(self, tensor: Any) -> keras.layers.InputLayer:
        layer: keras.layers.InputLayer = self._copy(input_layer(tensor))
        layer.output.name = tensor.name
        return layer

    def operation(self, old: Any) -> Any:
        """What stands in the place of a layer or operation; `None` if it is dropped."""
        if id(old) not in self.made:
            self.made[id(old)] = self._make(old)
        return self.made[id(old)]

    def _make(self, old: Any) -> Any:
        if graph_of(old) is not None:
            return self.model(old)
        inner = timed_model(old)
        if inner is not None and self._changes_calls_in(inner):
            config = {k: old.get_config()[k] for k in ("name", "trainable", "dtype")}
            return keras.layers.TimeDistributed(self.operation(inner), **config)
        if isinstance(old, keras.layers.Layer):
            chosen = self.replace(old)
            if chosen is not old:
                if chosen is not None:
                    self.replaced.append((old, chosen))
                return chosen
        new = self._copy(old)
        if isinstance(old, keras.layers.Layer):
            self.copies.append((old, new))
        return new

    def _changes_calls_in(self, model: keras.Model) -> bool:
        changed = {owner for owner, _ in self.calls}
        return any(id(part) in changed for part in sublayers(model))

    def _copy(self, old: Any) -> Any:
        config = self._config(old.get_config())
        if isinstance(old, keras.layers.Lambda):
            # Its function is at hand; a config holds the bytes of its code only.
            names = ("name", "dtype", "trainable")
            return keras.layers.Lambda(
                old.function,
                output_shape=old._output_shape,
                mask=old.mask,
                arguments=old.arguments,
                **{name: config[name] for name in names},
            )
        new, initializers = undrawn(old, config)
        self.initializers.append((new, initializers))
        return new

    def copy_weights(self) -> None:
        for old, new in self.copies:
            for source, target in zip(old.variables, new.variables, strict=True):
                target.assign(keras.ops.convert_to_numpy(source))
            for source, target in zip(sublayers(old), sublayers(new), strict=True):
                _copy_the_rest(source, target)
        for layer, initializers in self.initializers:
            for name, initializer in initializers.items():
                setattr(layer, name, initializer)

    def _config(self, config: Any) -> Any:
        """The config with the float dtypes of this and all inner layers changed."""
        if self.dtype is None:
            return config
        if isinstance(config, list | tuple):
            return [self._config(entry) for entry in config]
        if not isinstance(config, dict):
            return config
        return {
            key: self.dtype
            if key == "dtype" and _policy_name(value) in FLOATS
            else self._config(value)
            for key, value in config.items()
        }


def timed_model(layer: Any) -> keras.Model | None:
    """The model with a graph that a `TimeDistributed` applies to each step, if any."""
    if type(layer) is not keras.layers.TimeDistributed:
        return None
    return layer.layer if graph_of(layer.layer) is not None else None


def undrawn(old: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A layer of this kind and config, whose weights will be zero when it is built.

    What it would draw is overwritten anyhow, and to draw it is a third of the work. A
    layer that is not Keras's own draws: who knows what it does with an initializer.

    Returns:
        The layer, and by attribute the initializers to give it once it is built.
    """
    is_of_keras = type(old).__module__.startswith("keras.")
    names = [
        key
        for key in config
        if is_of_keras and key.endswith("_initializer") and key in vars(old)
    ]
    new = type(old).from_config({**config, **dict.fromkeys(names, "zeros")})
    return new, {name: keras.initializers.get(config[name]) for name in names}


def _copy_the_rest(old: Any, new: Any) -> None:
    """What a layer works with beside its variables and its config."""
    if getattr(old, "lora_enabled", False):
        # `Dense.build` passes on the rank only.
        new.lora_alpha = old.lora_alpha
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if isinstance(new, keras.layers.Normalization):
        # It reads its weights once only.
        new.finalize_state()


# What can be exchanged for another dtype; a quantised layer's policy cannot.
FLOATS = {
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "mixed_float16",
    "mixed_bfloat16",
}


def _policy_name(dtype: Any) -> Any:
    """The name of a dtype or of a dtype policy's config."""
    return dtype["config"].get("name") if isinstance(dtype, dict) else dtype
