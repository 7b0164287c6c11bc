"""The one engine behind all model surgery: a new model with some layers changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_dnn._graph import Graph, graph_of, input_layer

Replace = Callable[[keras.layers.Layer], keras.layers.Layer | None]
Fill = Callable[[keras.layers.Layer, keras.layers.Layer], None]


def rebuild(
    model: keras.Model,
    replace: Replace = lambda layer: layer,
    *,
    dtype: str | None = None,
    fill: Fill | None = None,
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

    Raises:
        ValueError: if the model has no graph.
    """
    rebuilding = _Rebuilding(replace, dtype)
    copy = rebuilding.model(model)
    rebuilding.copy_weights()
    if fill is not None:
        for old, new in rebuilding.replaced:
            fill(old, new)
    return copy


class _Rebuilding:
    def __init__(self, replace: Replace, dtype: str | None) -> None:
        self.replace = replace
        self.dtype = dtype
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
            layers = [self.operation(layer) for layer in model.layers]
            start = self._input(graph.inputs[0])
            copy = keras.Sequential([start, *filter(None, layers)], name=model.name)
        else:
            copy = self._functional(graph, model.name)
        copy.trainable = model.trainable
        return copy

    def _functional(self, graph: Graph, name: str) -> keras.Model:
        tensors = {id(x): self._input(x).output for x in graph.inputs}
        for node in graph.nodes:
            operation = self.operation(node.operation)
            if operation is None:
                outputs = tensors[id(node.inputs[0])]
            else:
                args, kwargs = node.arguments(tensors)
                outputs = operation(*args, **kwargs)
            for old, new in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                tensors[id(old)] = new

        def copied(structure: Any) -> Any:
            return keras.tree.map_structure(lambda x: tensors[id(x)], structure)

        return keras.Model(
            copied(graph.input_structure), copied(graph.output_structure), name=name
        )

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
        return type(old).from_config(config)

    def copy_weights(self) -> None:
        for old, new in self.copies:
            for source, target in zip(old.variables, new.variables, strict=True):
                target.assign(keras.ops.convert_to_numpy(source))

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
