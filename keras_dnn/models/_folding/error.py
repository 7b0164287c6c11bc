"""How far two models differ, computed in float64."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._batches import batches, require_rows
from keras_dnn._keras.graph import Node, flat_inputs, graph_of
from keras_dnn._keras.layers import (
    float64_view,
    has_seeds,
    has_training_argument,
    sublayers,
)
from keras_dnn._layer_kinds import CONVOLUTIONS, DEPTHWISE, IDENTITIES
from keras_dnn._precision import float64_arithmetic
from keras_dnn._typing import Tensor
from keras_dnn.models._output_difference import LargestDifference
from keras_dnn.models._random_inputs import random_inputs
from keras_dnn.models.rebuild import rebuild

BYTES_AT_ONCE = 2**28
DEPTHWISE_OF = dict(zip(CONVOLUTIONS, DEPTHWISE, strict=False))


@float64_arithmetic()
def max_error(model: keras.Model, other: keras.Model, data: Any) -> float:
    """The largest difference of outputs, as a fraction of their standard deviation.

    Args:
        model: the one whose outputs count as right.
        other: with the same inputs and outputs.
        data: what to call them with; `None` for random inputs. NaN is returned where
            the models do not run on these.
    """
    if data is not None:
        return _error(_Outputs(model), _Outputs(other), data)
    # Smaller images than the model is for, where it takes them: less work.
    for size in (96, None):
        try:
            inputs = random_inputs(model, largest=size)
            both = _Outputs(model, size is None), _Outputs(other, size is None)
            return _error(*both, inputs)
        except Exception:
            # The model does not run here, or not on images of that size.
            continue
    return float("nan")


def outputs_in_float64(model: keras.Model, data: Any) -> list[Tensor]:
    """The outputs in float64, one after the other."""
    return _Outputs(model, or_else_in_its_own_dtype=False)(data)


def _error(outputs: _Outputs, others: _Outputs, data: Any) -> float:
    """The error on all rows, of which only a few are in memory at once."""
    require_rows(data, "data")
    difference = LargestDifference()
    for batch, _ in batches(data, _rows_at_once(outputs.model)):
        difference.add(outputs(batch), others(batch))
    return difference.result()


def _rows_at_once(model: keras.Model) -> int:
    """Rows whose activations, all of them together, take no more memory than this."""
    outputs = [x for node in _calls(model) for x in node.outputs]
    # An open axis is taken to be long enough for a sentence.
    sizes = [math.prod(n or 64 for n in x.shape[1:]) for x in outputs]
    return min(max(BYTES_AT_ONCE // (8 * sum(sizes) or 1), 1), 1024)


class _Outputs:
    """Computes the outputs of a model in float64, one after the other.

    Args:
        model: a model with a graph.
        or_else_in_its_own_dtype: where it does not run in float64. Some kernels exist
            in float32 only, channels-first ones on a CPU in a compiled graph only.
    """

    def __init__(
        self, model: keras.Model, or_else_in_its_own_dtype: bool = True
    ) -> None:
        self.model = model
        self._or_else = or_else_in_its_own_dtype
        self._can_be_viewed = all(map(_can_be_viewed, _calls(model)))
        self._views: dict[int, Any] = {}
        self._float64: keras.Model | None = None
        self._plain: keras.Model | None = None

    def __call__(self, data: Any) -> list[Tensor]:
        """The outputs for a batch."""
        if self._plain is None:
            try:
                return self._in_float64(data)
            except Exception:
                if not self._or_else:
                    raise
                # If the fault is in the data, this raises it again.
                self._plain = rebuild(self.model)
        outputs: list[Tensor] = keras.tree.flatten(self._plain.predict_on_batch(data))
        return outputs

    def _in_float64(self, data: Any) -> list[Tensor]:
        if self._can_be_viewed:
            inputs = [_as_float64(x) for x in flat_inputs(self.model, data)]
            return _run(self.model, inputs, self._views)
        if self._float64 is None:
            self._float64 = rebuild(self.model, dtype="float64")
        outputs: list[Tensor] = keras.tree.flatten(self._float64(data, training=False))
        return outputs


def _run(model: keras.Model, inputs: list[Tensor], views: dict[int, Any]) -> list[Any]:
    """Calls each layer by itself, in float64: no copy of the model is made."""
    graph = graph_of(model)
    assert graph is not None
    values = {id(symbol): x for symbol, x in zip(graph.inputs, inputs, strict=True)}
    uses = Counter(id(x) for node in graph.nodes for x in node.inputs)
    uses.update(map(id, graph.outputs))
    for node in graph.nodes:
        args, kwargs = node.arguments(values)
        operation = node.operation
        if graph_of(operation) is not None:
            data = args[0] if args else kwargs["inputs"]
            outputs = _run(operation, keras.tree.flatten(data), views)
        else:
            if isinstance(operation, keras.layers.Layer):
                if id(operation) not in views:
                    views[id(operation)] = _view(operation, node)
                operation = views[id(operation)]
            if has_training_argument(operation):
                kwargs = {**kwargs, "training": False}
            outputs = keras.tree.flatten(operation(*args, **kwargs))
        for symbol, value in zip(node.outputs, outputs, strict=True):
            values[id(symbol)] = value
        # Nothing is kept longer than it is needed.
        del args, kwargs, outputs
        uses.subtract(map(id, node.inputs))
        for symbol in node.inputs:
            if not uses[id(symbol)]:
                values.pop(id(symbol), None)
    return [values[id(symbol)] for symbol in graph.outputs]


def _view(layer: keras.layers.Layer, node: Node) -> keras.layers.Layer:
    """The layer in float64; where its groups are single channels, a depthwise one.

    XLA, in which TensorFlow runs all convolutions with groups on a processor, takes as
    long for these as for a full one: the 18 of ConvNeXtTiny took 35 s.
    """
    kind = DEPTHWISE_OF.get(type(layer))
    if (
        kind is None
        or layer.kernel.shape[-2] > 1
        or layer.groups == 1
        or layer.padding == "causal"
        or len(set(layer.strides)) > 1
    ):
        return float64_view(layer)
    depthwise = kind(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.filters // layer.groups,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
        activation=layer.activation,
        use_bias=layer.use_bias,
        depthwise_initializer="zeros",
        dtype="float64",
    )
    depthwise.build(node.data.shape)
    kernel, *bias = layer.get_weights()
    depthwise.set_weights([kernel.reshape(depthwise.kernel.shape), *bias])
    return depthwise


def _calls(model: keras.Model) -> Iterator[Node]:
    """The calls of single layers and operations, in nested models too."""
    graph = graph_of(model)
    for node in graph.nodes if graph else ():
        if graph_of(node.operation) is not None:
            yield from _calls(node.operation)
        else:
            yield node


def _can_be_viewed(node: Node) -> bool:
    """Whether the call can be made in float64 by the same layer."""
    operation = node.operation
    if node.training:
        return False
    if not isinstance(operation, keras.layers.Layer):
        # One that casts names the type.
        return not hasattr(operation, "dtype")
    kind = type(operation)
    return (
        kind.__module__.startswith(("keras.", "keras_dnn.layers.bias_map"))
        and operation.dtype_policy.quantization_mode is None
        and len(list(sublayers(operation))) == 1
        and (kind in IDENTITIES or not has_seeds(operation))
    )


def _as_float64(x: Tensor) -> Tensor:
    if x is None or not keras.backend.is_float_dtype(x.dtype):
        return x
    return keras.ops.cast(x, "float64")
