r"""Folding batch normalisation into the layer before it.

At inference batch normalisation multiplies each channel by a constant and adds another,

    y = s·z + t,    s = γ / √(σ² + ε),    t = β − μ·s

and a linear layer before it, z = W·x + b, can do the same on its own:

    y = (s·W)·x + (s·b + t)
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._graph import Graph, Node, graph_of
from keras_dnn._result import Result
from keras_dnn._typing import Tensor
from keras_dnn.models._rebuild import rebuild

layers = keras.layers

# Where a kernel keeps its output channels: the shape that their scale needs to be
# multiplied with it. A depthwise kernel ends in (channels in, copies of each).
Shape = Callable[[tuple[int, ...]], tuple[int, ...]]

LAST: Shape = lambda kernel: (kernel[-1],)  # noqa: E731
LAST_BUT_ONE: Shape = lambda kernel: (kernel[-2], 1)  # noqa: E731
LAST_TWO: Shape = lambda kernel: kernel[-2:]  # noqa: E731

CHANNELS: dict[type, Shape] = {
    layers.Dense: LAST,
    layers.Conv1D: LAST,
    layers.Conv2D: LAST,
    layers.Conv3D: LAST,
    layers.Conv1DTranspose: LAST_BUT_ONE,
    layers.Conv2DTranspose: LAST_BUT_ONE,
    layers.Conv3DTranspose: LAST_BUT_ONE,
    layers.DepthwiseConv1D: LAST_TWO,
    layers.DepthwiseConv2D: LAST_TWO,
}


@dataclasses.dataclass(frozen=True)
class FoldResult(Result):
    """What `fold_batch_norm` did.

    Attributes:
        model: the folded model.
        folded: for each batch norm that is gone, the layer that does its work now.
        kept: for each batch norm that stayed, the reason.
        max_error: the largest difference between the outputs of the two models, as a
            share of their standard deviation, computed in float64. NaN if no `data` was
            given and the model does not run on random inputs.
    """

    model: keras.Model
    folded: dict[str, str]
    kept: dict[str, str]
    max_error: float

    def __str__(self) -> str:
        total = len(self.folded) + len(self.kept)
        lines = [f"{len(self.folded)} of {total} batch norms folded"]
        lines.append(f"outputs differ by at most {self.max_error:.1e} of their spread")
        lines += [f"  {norm} -> {layer}" for norm, layer in self.folded.items()]
        lines += [f"  {norm} stays: {reason}" for norm, reason in self.kept.items()]
        return "\n".join(lines)


def fold_batch_norm(model: keras.Model, data: Any = None) -> FoldResult:
    r"""Returns a model that says the same without its batch norms.

    A batch norm at inference is $y = s z + t$ with
    $s = \gamma / \sqrt{\sigma^2 + \epsilon}$ and $t = \beta - \mu s$. Where it follows
    a linear layer $z = W x + b$ directly, that layer becomes
    $y = (s W) x + (s b + t)$, with a bias where there was none. The arithmetic is done
    in float64. Dense, convolutions of one to three dimensions, transposed ones and
    depthwise ones are folded, in nested models too. What would not be exact stays, and
    the result says why.

    The model given is untouched and shares nothing with the new one, which is meant for
    inference: regularizers and constraints of folded layers are gone.

    Args:
        model: a functional model or a built Sequential.
        data: inputs to measure the difference on, as `model` takes them; random ones by
            default.

    Returns:
        A `FoldResult` with `model`, `folded`, `kept` and `max_error`.

    Raises:
        ValueError: if the model is subclassed or not built, so that its graph is not
            known.

    Example:
        >>> import keras
        >>> from keras_dnn.models import fold_batch_norm
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 3)),
        ...         keras.layers.Conv2D(4, 3, use_bias=False, name="conv"),
        ...         keras.layers.BatchNormalization(name="norm"),
        ...         keras.layers.ReLU(),
        ...     ]
        ... )
        >>> result = fold_batch_norm(model)
        >>> result.folded, result.kept
        ({'norm': 'conv'}, {})
        >>> result.max_error < 1e-6
        True

    Reference:
        B. Jacob et al., "Quantization and training of neural networks for efficient
        integer-arithmetic-only inference", 2018, section 3.2.
    """
    plan = _Plan(model)
    replacements: dict[int, Any] = {}
    for linear, norm in plan.pairs:
        replacements[id(norm)] = None
        replacements[id(linear)] = _with_bias(linear)

    new = rebuild(model, lambda layer: replacements.get(id(layer), layer))
    for linear, norm in plan.pairs:
        _write_weights(replacements[id(linear)], linear, norm)
    return FoldResult(new, plan.folded, plan.kept, _max_error(model, new, data))


class _Plan:
    """Which batch norm goes into which layer, and why the others stay."""

    def __init__(self, model: keras.Model) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self.folded: dict[str, str] = {}
        self.kept: dict[str, str] = {}
        self.uses = Counter(id(node.operation) for _, node, _ in _walk(model))
        for graph, node, path in _walk(model):
            if type(node.operation) is layers.BatchNormalization:
                self._consider(graph, node, path)

    def _consider(self, graph: Graph, node: Node, path: str) -> None:
        norm = node.operation
        name = path + norm.name
        if name in self.folded or name in self.kept:
            return
        before = next((n for n in graph.nodes if node.inputs[0] in n.outputs), None)
        reason = self._reason_to_keep(graph, node, before)
        if reason is not None or before is None:
            self.kept[name] = reason or "it is the first layer"
        else:
            self.pairs.append((before.operation, norm))
            self.folded[name] = path + before.operation.name

    def _reason_to_keep(
        self, graph: Graph, node: Node, before: Node | None
    ) -> str | None:
        if before is None:
            return "nothing before it in this model could take it"
        norm, linear, tensor = node.operation, before.operation, node.inputs[0]
        if type(linear) not in CHANNELS:
            return f"the {type(linear).__name__} before it is not a linear layer"
        if linear.activation is not keras.activations.linear:
            name = getattr(linear.activation, "__name__", linear.activation)
            return f"the activation {name} of {linear.name} lies between"
        if self.uses[id(norm)] > 1:
            return "it is used in several places"
        if self.uses[id(linear)] > 1:
            return f"{linear.name} is used in several places"
        if len(graph.consumers(tensor)) > 1 or any(tensor is x for x in graph.outputs):
            return f"the output of {linear.name} is used elsewhere too"
        if norm.axis % len(tensor.shape) != _channel_axis(linear, tensor):
            return f"it normalises axis {norm.axis}, not the channels of {linear.name}"
        if _is_altered(linear):
            return f"{linear.name} is quantised or has a LoRA"
        _, kwargs = node.arguments({id(tensor): tensor})
        if kwargs.get("training"):
            return "it is called with training=True"
        return None


def _walk(model: keras.Model, path: str = "") -> Iterator[tuple[Graph, Node, str]]:
    """All calls in a model and in the models nested in it, each of these once."""
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            "fold_batch_norm needs a functional model or a built Sequential, since the "
            f"graph of a subclassed model is not known. Received: model={model}"
        )
    nested: set[int] = set()
    for node in graph.nodes:
        yield graph, node, path
        inner = node.operation
        if graph_of(inner) is not None and id(inner) not in nested:
            nested.add(id(inner))
            yield from _walk(inner, f"{path}{inner.name}/")


def _channel_axis(linear: Any, tensor: Tensor) -> int:
    rank = len(tensor.shape)
    channels_first = getattr(linear, "data_format", None) == "channels_first"
    return 1 if channels_first else rank - 1


def _is_altered(linear: Any) -> bool:
    return bool(
        getattr(linear, "lora_enabled", False)
        or getattr(linear, "quantization_mode", None)
    )


def _with_bias(linear: Any) -> Any:
    config = linear.get_config()
    trained = [k for k in config if k.endswith(("_regularizer", "_constraint"))]
    return type(linear).from_config(
        {**config, **dict.fromkeys(trained), "use_bias": True}
    )


def _write_weights(target: Any, linear: Any, norm: Any) -> None:
    kernel = _float64(linear.kernel)
    bias = _float64(linear.bias) if linear.use_bias else 0.0
    mean, variance = _float64(norm.moving_mean), _float64(norm.moving_variance)
    gamma = _float64(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = _float64(norm.beta) if norm.center else np.zeros_like(mean)

    s = gamma / np.sqrt(variance + norm.epsilon)
    t = beta - mean * s
    target.kernel.assign(kernel * s.reshape(CHANNELS[type(linear)](kernel.shape)))
    target.bias.assign(bias * s + t)


def _float64(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), "float64")


def _max_error(model: keras.Model, folded: keras.Model, data: Any) -> float:
    if data is None:
        try:
            return _max_error(model, folded, _random_inputs(model))
        except Exception:
            # The model does not run here, or not on pictures of that size.
            return float("nan")
    try:
        before, after = (
            rebuild(m, dtype="float64")(data, training=False) for m in (model, folded)
        )
    except Exception:
        # Some kernels exist in float32 only, channels-first ones on a CPU in a compiled
        # graph only. If the fault is in the data, this raises it again.
        before, after = (rebuild(m).predict_on_batch(data) for m in (model, folded))
    before, after = (map(_float64, keras.tree.flatten(y)) for y in (before, after))
    errors = [
        np.abs(a - b).max(initial=0.0) / (np.std(a) or 1.0)
        for a, b in zip(before, after, strict=True)
    ]
    return float(np.max(errors))


def _random_inputs(model: keras.Model, rows: int = 2, size: int = 64) -> Any:
    """Normal numbers, or zeros and ones for whole-number inputs."""
    generator = np.random.default_rng(0)

    def draw(tensor: Tensor) -> np.ndarray:
        shape = [rows, *(size if n is None else n for n in tensor.shape[1:])]
        if tensor.shape[0] is not None:
            shape[0] = tensor.shape[0]
        if keras.backend.is_float_dtype(tensor.dtype):
            return generator.normal(size=shape)
        return generator.integers(0, 2, size=shape).astype(tensor.dtype)

    graph = graph_of(model)
    assert graph is not None
    return keras.tree.map_structure(draw, graph.input_structure)
