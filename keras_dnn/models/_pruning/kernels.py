"""The weight matrices of a model's layers, and where each keeps its constraint."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Container, Iterator

import keras

from keras_dnn._keras.layers import own_weights, sublayers
from keras_dnn.models._layer_copy import config_of

layers = keras.layers

NAMES = (
    ("kernel", "kernel_constraint"),
    ("kernel", "depthwise_constraint"),
    ("depthwise_kernel", "depthwise_constraint"),
    ("pointwise_kernel", "pointwise_constraint"),
    ("recurrent_kernel", "recurrent_constraint"),
    ("embeddings", "embeddings_constraint"),
)
"""The attributes of a layer that hold a matrix and the constraint on it."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A weight matrix that can be pruned.

    Attributes:
        layer: the layer that has it.
        variable: the matrix.
        constraint_name: the attribute of the layer that holds its constraint and is
            saved with it; `None` if there is none.
    """

    layer: keras.layers.Layer
    variable: keras.Variable
    constraint_name: str | None = None

    def constrain(self, constraint: keras.constraints.Constraint) -> None:
        """Makes the optimizer apply the constraint, and the layer save it if it can."""
        self.variable.constraint = constraint
        if self.constraint_name is not None:
            setattr(self.layer, self.constraint_name, constraint)


def layers_by_path(
    model: keras.Model, prefix: str = ""
) -> dict[str, keras.layers.Layer]:
    """The layers of a model and of its nested models by path, each once, in order.

    Where two layers have one path, which only a subclassed model allows, the second
    one's has a number.
    """
    found: dict[str, keras.layers.Layer] = {}
    seen: set[int] = set()
    for layer in model.layers:
        path = prefix + layer.name
        inner = (
            layers_by_path(layer, f"{path}/")
            if isinstance(layer, keras.Model)
            else {path: layer}
        )
        for name, part in inner.items():
            if id(part) not in seen:
                found[_unused(name, found)] = part
        seen.update(map(id, inner.values()))
    return found


def matrices(layer: keras.layers.Layer) -> list[keras.Variable]:
    """All weights of a layer with more than one axis, frozen or not, except biases.

    The bias of a GRU or of an attention layer's projections has more than one axis too.
    """
    found = {
        id(v): v
        for part in sublayers(layer)
        for v in own_weights(part)
        if len(v.shape) > 1 and v is not getattr(part, "bias", None)
    }
    return list(found.values())


def kernels(layer: keras.layers.Layer) -> list[Kernel]:
    """The matrices of a layer, those first on which a constraint survives saving."""
    found = {}
    for part in _saved_with(layer):
        saved = _arguments_saved(part)
        for name, constraint in NAMES:
            variable = getattr(part, name, None) if constraint in saved else None
            # A kernel with a LoRA adapter is a sum; a quantised kernel does not train.
            if isinstance(variable, keras.Variable) and any(
                variable is v for v in own_weights(part)
            ):
                found[id(variable)] = Kernel(part, variable, constraint)
    for variable in matrices(layer):
        found.setdefault(id(variable), Kernel(layer, variable))
    return list(found.values())


def _arguments_saved(layer: keras.layers.Layer) -> Container[str]:
    """Names of the arguments that a layer's config keeps, if it has a config."""
    try:
        return config_of(layer)
    except NotImplementedError:
        return ()


def _saved_with(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """The layer, and the layers inside it that its config describes separately."""
    yield layer
    if isinstance(layer, keras.Model):
        inner = list(layer.layers)
    elif isinstance(layer, layers.Bidirectional):
        inner = [layer.forward_layer, layer.backward_layer]
    elif isinstance(layer, layers.Wrapper):
        inner = [layer.layer]
    elif isinstance(layer, layers.RNN):
        inner = [layer.cell]
    elif isinstance(layer, layers.StackedRNNCells):
        inner = list(layer.cells)
    else:
        inner = []
    for part in inner:
        yield from _saved_with(part)


def _unused(path: str, paths: Container[str]) -> str:
    numbered = (f"{path}_{number}" for number in itertools.count(2))
    return next(p for p in itertools.chain([path], numbered) if p not in paths)
