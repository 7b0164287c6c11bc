"""What a layer, or a model as a layer, keeps private: its parts, states and seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.applications import convnext

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

VARIABLES = (keras.Variable,) if tf is None else (keras.Variable, tf.Variable)


def sublayers(layer: Any) -> Iterator[keras.layers.Layer]:
    """The layer itself, if it is one, and all layers inside it, each once."""
    if isinstance(layer, keras.layers.Layer):
        seen: set[int] = set()
        for sublayer in layer._flatten_layers(include_self=True, recursive=True):
            if id(sublayer) not in seen:
                seen.add(id(sublayer))
                yield sublayer


def shared_layers(model: keras.Model) -> set[int]:
    """The ids of layers in a model that several others hold, or that share weights.

    A layer that is only called several times is held by the model alone.
    """
    holders: Counter[int] = Counter()
    owners: dict[int, list[int]] = defaultdict(list)
    for layer in sublayers(model):
        if not isinstance(layer, keras.Model):
            holders.update({id(part) for part in layer._layers})
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            owners[id(variable)].append(id(layer))
    held = {id(part) for part in _held_by_models(model)}
    shared = {key for key, count in holders.items() if count + (key in held) > 1}
    return shared.union(*(ids for ids in owners.values() if len(ids) > 1))


def states(layer: keras.layers.Layer) -> list[Any]:
    """What a layer itself moves in a call: statistics, states, and its seeds.

    Also what Keras does not list: the states of a stateful recurrent layer, and the
    metrics, variables and random generators, of Keras or of TensorFlow, that a layer of
    one's own keeps in attributes.
    """
    weights = set(map(id, layer._trainable_variables))
    found: dict[int, Any] = {}
    for value in list(vars(layer).values()):
        _collect_states(value, found, depth=4)
    return [state for key, state in found.items() if key not in weights]


def _collect_states(value: Any, found: dict[int, Any], depth: int) -> None:
    if isinstance(value, (list, tuple)) and depth:
        for part in value:
            _collect_states(part, found, depth - 1)
    elif isinstance(value, dict) and depth:
        for part in value.values():
            _collect_states(part, found, depth - 1)
    elif isinstance(value, keras.random.SeedGenerator):
        found[id(value.state)] = value.state
    elif isinstance(value, keras.metrics.Metric):
        found.update((id(variable), variable) for variable in value.variables)
    elif isinstance(value, keras.Variable) or (
        tf is not None and isinstance(value, tf.Variable)
    ):
        found[id(value)] = value
    elif tf is not None and isinstance(value, tf.random.Generator):
        found[id(value.state)] = value.state


def is_stateful(layer: Any) -> bool:
    """Whether a layer begins each call where the last one ended."""
    return isinstance(layer, keras.layers.RNN) and bool(layer.stateful)


def rows_of_states(model: keras.Model) -> int | None:
    """The number of rows that a model's stateful recurrent layers hold states of.

    It takes so many rows at once and no others; without such layers, `None`, any.
    """
    found = (
        state
        for layer in sublayers(model)
        if is_stateful(layer)
        for state in keras.tree.flatten(getattr(layer, "states", None) or [])
    )
    return next((int(state.shape[0]) for state in found), None)


def _held_by_models(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model and of the models that are among these."""
    for layer in model._layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _held_by_models(layer)


def own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The layer's own trainable weights, frozen or not, without its sublayers'."""
    weights: list[keras.Variable] = layer._trainable_variables
    return list(weights)


def take_path(variable: keras.Variable, of: keras.Variable) -> None:
    """Gives a variable, by which its model names it, the path of another."""
    variable._path = of._path


def noise_shape_of(dropout: keras.layers.Layer, inputs: Tensor) -> Any:
    """The shape of the mask that a spatial dropout layer draws for these inputs."""
    return dropout._get_noise_shape(inputs)


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


def float64_view(layer: keras.layers.Layer) -> keras.layers.Layer:
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


def is_keras_layer(layer: Any) -> bool:
    """Whether the layer is of a class of Keras itself, not of a user's."""
    return isinstance(layer, keras.layers.Layer) and type(layer).__module__.startswith(
        "keras.src.layers."
    )


def is_preprocessing(layer: Any) -> bool:
    """Whether the layer, or one that it derives from, prepares or augments data."""
    modules = (kind.__module__ for kind in type(layer).__mro__)
    return any("preprocessing" in module.split(".") for module in modules)


def seeds_of(layer: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """The generators that the layer itself draws from, in lists and dicts too."""
    generators: list[keras.random.SeedGenerator] = list(layer._seed_generators)
    return generators


def has_seeds(layer: keras.layers.Layer) -> bool:
    """Whether the layer itself draws random numbers in some mode."""
    return bool(seeds_of(layer))


def has_training_argument(operation: Any) -> bool:
    """Whether a call of it takes `training`."""
    return bool(getattr(operation, "_call_has_training_arg", False))


def is_complete(model: keras.Model) -> bool:
    """Whether all layers have their weights; a model without `call` is never built."""
    if model.built:
        return True
    parts = [part for part in sublayers(model) if part is not model]
    return bool(parts) and all(part.built for part in parts)


def has_call(model: keras.Model) -> bool:
    """Whether a model can be called; some have only steps that call their parts."""
    return type(model).call is not keras.Model.call


def require_call(model: keras.Model, task: str) -> None:
    """Raises an error if a model cannot be called.

    Args:
        model: the model.
        task: what would call it.
    """
    if not has_call(model):
        parts = [name for name, v in vars(model).items() if isinstance(v, keras.Model)]
        inside = f" (.{', .'.join(parts)})" if parts else ""
        raise ValueError(
            f"{task} calls the model, and {type(model).__name__} has no call method. "
            f"Give it one, or give the functional model inside{inside}.\n"
            f"Received: model={model.name!r}"
        )
