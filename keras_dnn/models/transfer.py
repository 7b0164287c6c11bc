"""Transfer learning: the lower layers of a trained model, with a new head on top."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

from keras_dnn import _arguments
from keras_dnn._keras.graph import Graph, Node, required_graph
from keras_dnn._keras.layers import own_weights, sublayers
from keras_dnn.models._weighted_layers import (
    containers,
    set_trainable,
    weighted_layers,
)
from keras_dnn.models.rebuild import rebuild

Head: TypeAlias = keras.layers.Layer | Sequence[keras.layers.Layer]


def reuse_layers(
    model: keras.Model,
    up_to: str | int,
    head: Head | None = None,
    freeze: bool = True,
) -> keras.Model:
    """Returns a new model with a trained model's lower layers and a new head.

    The layers are copies with the same weights: training the new model leaves the old
    one unchanged. Layers and inputs that the layer `up_to` does not need are left out.
    From a Sequential it makes a Sequential. The new model is not compiled.

    Frozen layers do not train, and a frozen batch norm uses the statistics that it has
    learnt, whatever the batch. Train the head first, then `unfreeze` some layers and
    continue with a lower learning rate, or with `discriminative_rates`.

    Args:
        model: a functional model or a built Sequential.
        up_to: the last layer to reuse, by its name or by its index in `model.layers`:
            `-2` leaves the last layer out.
        head: the layer, or the list of layers in their order, to put on top.
        freeze: whether the reused layers are frozen. If not, each trains if it did in
            `model`.

    Returns:
        The new model.

    Raises:
        ValueError: if `model` is subclassed or not built, has no layer `up_to` or calls
            it several times, if the head is not made of new layers with new names, or
            if there is a head and the layer has several outputs.

    Example:
        >>> import keras
        >>> from keras_dnn.models import reuse_layers
        >>> donor = keras.Sequential(
        ...     [
        ...         keras.Input((784,)),
        ...         keras.layers.Dense(100, "relu", name="hidden"),
        ...         keras.layers.Dense(8, "softmax", name="classes"),
        ...     ]
        ... )
        >>> head = keras.layers.Dense(1, "sigmoid", name="sneaker")
        >>> model = reuse_layers(donor, up_to="hidden", head=head)
        >>> [(layer.name, layer.trainable) for layer in model.layers]
        [('hidden', False), ('sneaker', True)]
    """
    freeze = _arguments.switch("freeze", freeze)
    graph = required_graph(model)
    node = _last_node(model, graph, up_to)
    added = _head(model, head)
    if added and len(node.outputs) > 1:
        raise ValueError(
            "head needs a layer with one output below it, and "
            f"{node.operation.name} has {len(node.outputs)}. Received: up_to={up_to!r}"
        )
    outputs = node.outputs[0] if len(node.outputs) == 1 else list(node.outputs)
    reused = rebuild(keras.Model(_inputs(graph, node), outputs, name=model.name))
    _check_names(reused, added)
    if freeze:
        for layer in reused.layers:
            layer.trainable = False
    if isinstance(model, keras.Sequential):
        return keras.Sequential([*reused.layers, *added], name=model.name)
    x = reused.output
    for layer in added:
        x = layer(x)
    return keras.Model(reused.input, x, name=model.name) if added else reused


def unfreeze(model: keras.Model, n: int) -> list[str]:
    """Unfreezes the topmost frozen layers of a model, so that they train.

    Layers without trainable weights do not count, nor do batch norms, which remain
    frozen, also inside a block of layers: their statistics are those of the data they
    were trained on, and a few new batches would spoil them. Layers of nested models
    count separately.

    Compile the model afterwards: `compile` determines what the optimizer trains.

    Args:
        model: a model with frozen layers, such as `reuse_layers` returns.
        n: how many layers to unfreeze; if there are fewer, all of them.

    Returns:
        The names of the layers that it has unfrozen, the topmost first.

    Raises:
        ValueError: if `n` is not an integer of at least 0.

    Example:
        >>> import keras
        >>> from keras_dnn.models import reuse_layers, unfreeze
        >>> dense = keras.layers.Dense
        >>> donor = keras.Sequential(
        ...     [keras.Input((9,)), dense(8, name="a"), dense(8, name="b"), dense(4)]
        ... )
        >>> model = reuse_layers(donor, up_to=-2, head=dense(2))
        >>> unfreeze(model, 1)
        ['b']
        >>> [layer.trainable for layer in model.layers]
        [False, True, True]
    """
    n = _arguments.count("n", n, least=0)
    before = [(layer, layer.trainable) for layer in sublayers(model)]
    unfrozen = _topmost_frozen(model, n)
    training = {id(part) for layer in unfrozen for part in _without_norms(layer)}
    # In a frozen model no layer trains, and unfreezing it unfreezes all its layers.
    models = list(containers(model))
    for container in models if unfrozen else ():
        set_trainable(container, True)
    for layer, trainable in before:
        if not any(layer is container for container in models):
            set_trainable(layer, trainable or id(layer) in training)
    return [layer.name for layer in unfrozen]


def _topmost_frozen(model: keras.Model, n: int) -> list[keras.layers.Layer]:
    found: list[keras.layers.Layer] = []
    for layer in reversed(weighted_layers(model)):
        if len(found) == n:
            break
        if layer.trainable:
            continue
        set_trainable(layer, True)
        if any(v.trainable for x in _without_norms(layer) for v in own_weights(x)):
            found.append(layer)
    return found


def _without_norms(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer and the layers in it, except batch norms."""
    norm = keras.layers.BatchNormalization
    return [part for part in sublayers(layer) if not isinstance(part, norm)]


def _last_node(model: keras.Model, graph: Graph, up_to: str | int) -> Node:
    """The call of the layer that `up_to` names."""
    operations = {id(node.operation): node.operation for node in graph.nodes}
    names = [operation.name for operation in operations.values()]
    if isinstance(up_to, str) and up_to in names:
        chosen = [x for x in operations.values() if x.name == up_to]
    elif isinstance(up_to, numbers.Integral) and not isinstance(up_to, bool):
        chosen = model.layers[int(up_to) :][:1]
        if not -len(model.layers) <= int(up_to) < len(model.layers):
            chosen = []
    else:
        chosen = []
    nodes = [n for n in graph.nodes if any(n.operation is x for x in chosen)]
    if not nodes:
        raise ValueError(
            f"up_to must be the name of one of the layers {names}, or the index of "
            f"one in model.layers. Received: up_to={up_to!r}"
        )
    if len(nodes) > 1:
        raise ValueError(
            "up_to must be a layer that the model calls once; this one is called "
            f"{len(nodes)} times. Received: up_to={up_to!r}"
        )
    return nodes[0]


def _inputs(graph: Graph, last: Node) -> Any:
    """The inputs that the call needs, in the structure of the model's inputs."""
    needed = {id(x) for x in last.inputs}
    for node in reversed(graph.nodes):
        if any(id(x) in needed for x in node.outputs):
            needed.update(id(x) for x in node.inputs)
    structure = graph.input_structure
    if all(id(x) in needed for x in graph.inputs):
        return structure
    if isinstance(structure, dict):
        return {name: x for name, x in structure.items() if id(x) in needed}
    return [x for x in graph.inputs if id(x) in needed]


def _head(model: keras.Model, head: Head | None) -> list[keras.layers.Layer]:
    if head is None:
        return []
    added = [head] if isinstance(head, keras.layers.Layer) else head
    added = _arguments.several("head", added)
    for layer in added:
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(
                f"head must be a layer or a list of layers. Received: head={head!r}"
            )
        if any(layer is part for part in sublayers(model)):
            raise ValueError(
                "head must be made of new layers, or the two models would share "
                f"weights. Received: head={head!r}"
            )
    return added


def _check_names(reused: keras.Model, head: list[keras.layers.Layer]) -> None:
    taken = {layer.name for layer in reused.layers}
    for layer in head:
        if layer.name in taken:
            raise ValueError(
                f"head needs names that the reused layers do not have: {layer.name!r} "
                "is taken. Give the layer another one with its argument `name`. "
                f"Received: head={head!r}"
            )
