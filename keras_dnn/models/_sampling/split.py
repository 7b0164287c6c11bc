"""Where randomness enters a model: what comes before need run only once."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import keras

from keras_dnn._keras.graph import Node, flat_inputs, graph_of, run
from keras_dnn._keras.layers import sublayers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._sampling.switched_on import is_stateful


class Cut:
    """A model in two parts: what is the same in every sample, and the rest.

    A tensor is random if it comes out of a random layer or is computed from one that
    is. The frontier is what the random part takes from the deterministic one; in a
    network with shortcuts that is several tensors. A model without a graph, or one in
    which the frontier would not have one row for each input, is random as a whole.

    Args:
        model: any model.
        random: ids of its random layers.
    """

    def __init__(self, model: keras.Model, random: Collection[int]) -> None:
        self.model = model
        self.graph = graph_of(model)
        self.fixed_rows = False
        """Whether the model takes one number of rows only, so nothing can be tiled."""
        self.numbers_per_row = 1
        """How many the largest tensor of the random part holds, as far as is known."""
        self.before: list[Node] = []
        self.after: list[Node] = []
        if self.graph is None:
            _refuse_stateful([model])
            return
        tainted: set[int] = set()
        for node in self.graph.nodes:
            if any(id(x) in tainted for x in node.inputs) or any(
                id(layer) in random for layer in sublayers(node.operation)
            ):
                self.after.append(node)
                tainted.update(id(x) for x in node.outputs)
            else:
                self.before.append(node)
        needed = [x for node in self.after for x in node.inputs]
        needed += self.graph.outputs
        self.frontier = list(
            {id(x): x for x in needed if id(x) not in tainted}.values()
        )
        self.fixed_rows = any(x.shape[0] is not None for x in self.graph.inputs)
        by_row = all(x.shape and x.shape[0] is None for x in self.frontier)
        if not (by_row or self.fixed_rows):
            self.before, self.after = [], list(self.graph.nodes)
            self.frontier = list(self.graph.inputs)
        _refuse_stateful([node.operation for node in self.after])
        tensors = [*self.frontier, *(x for node in self.after for x in node.outputs)]
        self.numbers_per_row = max(
            math.prod(n or 1 for n in x.shape[1:]) for x in tensors
        )

    def deterministic(self, x: Any) -> list[Tensor]:
        """The frontier for the inputs `x`."""
        if self.graph is None:
            return [tf.convert_to_tensor(t) for t in keras.tree.flatten(x)]
        values = dict(
            zip(map(id, self.graph.inputs), flat_inputs(self.model, x), strict=True)
        )
        run(self.before, values)
        return [values[id(symbol)] for symbol in self.frontier]

    def random(self, frontier: list[Tensor], x: Any) -> list[Tensor]:
        """One set of outputs from the frontier; `x` gives the inputs' structure."""
        if self.graph is None:
            inputs = keras.tree.pack_sequence_as(x, frontier)
            return list(keras.tree.flatten(self.model(inputs, training=False)))
        values = dict(zip(map(id, self.frontier), frontier, strict=True))
        run(self.after, values)
        return [values[id(symbol)] for symbol in self.graph.outputs]


def _refuse_stateful(operations: Iterable[Any]) -> None:
    for operation in operations:
        for layer in sublayers(operation):
            if is_stateful(layer):
                raise ValueError(
                    f"The recurrent layer {layer.name} is stateful and random, so each "
                    "sample would begin where the last one ended. Sample from a model "
                    "built with stateful=False. Received: stateful=True"
                )
