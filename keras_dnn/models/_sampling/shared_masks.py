r"""Coherent masks in the weights: a dropout before a dense layer need not touch rows.

With one mask $m$ for all inputs, $(x \odot m) W = x \, (m \odot W)$. The weights are
fewer numbers than the inputs of many rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras

from keras_dnn._keras.graph import Node
from keras_dnn._keras.patched import patched
from keras_dnn._typing import Tensor
from keras_dnn.layers import MCDropout
from keras_dnn.models._sampling.random_stream import Stream

Pair = tuple[keras.layers.Dropout, keras.layers.Dense]


def foldable(nodes: Sequence[Node], on: Collection[Any]) -> list[Pair]:
    """Dropouts of single numbers whose one consumer is a dense layer used once.

    None where an operation may have made several rows of one, which have masks of their
    own: Keras's layers keep rows as they are.
    """
    if not all(_keeps_rows(node.operation) for node in nodes):
        return []
    calls: dict[int, list[Node]] = {}
    for node in nodes:
        calls.setdefault(id(node.operation), []).append(node)
    chosen = {id(layer) for layer in on}
    found = []
    for dropout, *others in calls.values():
        layer = dropout.operation
        if others or type(layer) not in (keras.layers.Dropout, MCDropout):
            continue
        if id(layer) not in chosen or layer.noise_shape is not None:
            continue
        (output,) = dropout.outputs
        takers = [n for n in nodes if any(x is output for x in n.inputs)]
        if len(takers) == 1 and _plain(takers[0], calls) and len(output.shape) == 2:
            found.append((layer, takers[0].operation))
    return found


def _keeps_rows(operation: Any) -> bool:
    kind = type(operation)
    return (
        isinstance(operation, keras.layers.Layer)
        and not isinstance(operation, keras.layers.Lambda)
        and kind.__module__.startswith(("keras.src.layers.", "keras_dnn.layers."))
    )


def _plain(node: Node, calls: dict[int, list[Node]]) -> bool:
    layer = node.operation
    return (
        type(layer) is keras.layers.Dense
        and len(calls[id(layer)]) == 1
        and not getattr(layer, "lora_enabled", False)
        and not getattr(layer, "quantization_mode", None)
    )


@contextlib.contextmanager
def folded(pairs: Sequence[Pair], stream: Stream) -> Iterator[None]:
    """Has these dense layers drop weights in place of their inputs."""
    with contextlib.ExitStack() as stack:
        for dropout, dense in pairs:
            factors: list[Tensor] = []
            for layer, call in (
                (dropout, _passing(dropout, stream, factors)),
                (dense, _masking(dense, factors)),
            ):
                stack.enter_context(patched(layer, "call", call))
        yield


def _passing(
    dropout: keras.layers.Dropout, stream: Stream, factors: list[Tensor]
) -> Callable[..., Tensor]:
    def call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        shape = [1, *inputs.shape[1:]]
        factors.append(stream.factor(shape, dropout.rate, inputs.dtype))
        return inputs

    return call


def _masking(dense: keras.layers.Dense, factors: list[Tensor]) -> Callable[..., Tensor]:
    def call(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        factor = keras.ops.reshape(factors.pop(), (-1, 1))
        outputs = keras.ops.matmul(inputs, dense.kernel * factor)
        if dense.bias is not None:
            outputs = keras.ops.add(outputs, dense.bias)
        return outputs if dense.activation is None else dense.activation(outputs)

    return call
