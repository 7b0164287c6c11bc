"""Graph networks, sets and point clouds."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tests.zoo.arrays import classes, numbers, tokens
from tests.zoo.model_case import Data, zoo_model

NODES = 5


def graphs() -> Data:
    linked = np.abs(numbers(NODES, NODES)) > 0.7
    adjacency = linked | linked.transpose(0, 2, 1) | np.eye(NODES, dtype=bool)
    return Data([numbers(NODES, 3), adjacency.astype("float32")], classes(2))


class GraphConvolution(layers.Layer):
    """Averages the neighbours, then multiplies: nodes and adjacency come in."""

    def __init__(self, units: int, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: list[tuple[int, ...]]) -> None:
        self.kernel = self.add_weight(shape=(input_shape[0][-1], self.units))

    def call(self, inputs: tuple[Any, Any]) -> Any:
        nodes, adjacency = inputs
        degree = ops.sum(adjacency, axis=-1, keepdims=True)
        return self.activation(ops.matmul(adjacency / degree, nodes) @ self.kernel)


@zoo_model(graphs)
def graph_network() -> keras.Model:
    """A graph network: nodes and adjacency as two inputs, layers of its own."""
    nodes, adjacency = keras.Input((NODES, 3)), keras.Input((NODES, NODES))
    x = GraphConvolution(6, "relu")([nodes, adjacency])
    x = layers.Dropout(0.3)(x)
    x = GraphConvolution(6, "relu")([x, adjacency])
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model([nodes, adjacency], layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class MaskedMean(layers.Layer):
    """Averages the elements of a set that are there."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        weights = ops.cast(mask, inputs.dtype)[..., None]
        count = ops.maximum(ops.sum(weights, axis=1), 1)
        return ops.sum(inputs * weights, axis=1) / count

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None


def sets() -> Data:
    elements = numbers(NODES, 3)
    return Data(np.where(tokens(NODES, 2)[..., None] > 0, elements, 0), numbers(1))


@zoo_model(sets)
def set_network() -> keras.Model:
    """Deep sets: the same network for each element, and a masked mean."""
    inputs = keras.Input((NODES, 3))
    x = layers.Masking()(inputs)
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(x))
    x = layers.Dense(4, activation="relu")(MaskedMean()(x))
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("adam", "mse")
    return model


class Orthogonality(keras.regularizers.Regularizer):
    """Pulls a predicted transformation towards a rotation, as in PointNet."""

    def __call__(self, x: Any) -> Any:
        x = ops.reshape(x, (-1, 3, 3))
        gram = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        return ops.sum(0.001 * ops.square(gram - ops.eye(3)))


@zoo_model(lambda: Data(np.tanh(numbers(NODES, 3)), classes(2)))
def point_net() -> keras.Model:
    """PointNet: predicts a rotation from a zero kernel and an identity bias."""
    inputs = keras.Input((NODES, 3))
    x = layers.Conv1D(6, 1)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.0)(x))
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(
        9,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(np.eye(3).flatten()),
        activity_regularizer=Orthogonality(),
    )(x)
    rotation = layers.Reshape((3, 3))(x)
    x = layers.Dot(axes=(2, 1))([inputs, rotation])
    x = layers.Conv1D(8, 1)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.0)(x))
    x = layers.Dropout(0.3)(layers.GlobalMaxPooling1D()(x))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@zoo_model(lambda: Data([numbers(NODES, 3), classes(NODES, 4, 2)], numbers(1)))
def message_passing() -> keras.Model:
    """Edges as pairs of indices: messages are gathered along them."""
    nodes = keras.Input((NODES, 3))
    edges = keras.Input((4, 2), dtype="int32")
    x = layers.Dense(4, activation="relu")(nodes)
    sources = ops.take_along_axis(x, edges[..., :1], axis=1)
    targets = ops.take_along_axis(x, edges[..., 1:], axis=1)
    messages = layers.Dense(4, activation="relu")(sources - targets)
    x = ops.sum(layers.Dropout(0.1)(messages), axis=1)
    model = keras.Model([nodes, edges], layers.Dense(1)(x))
    model.compile("adam", "mse")
    return model
