"""What checks examine before training: a model, a batch, and one pass through it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_dnn._batches import as_arrays, rows_of
from keras_dnn._keras.graph import output_layers
from keras_dnn._keras.layers import sublayers
from keras_dnn._keras.losses import call_of, total_loss
from keras_dnn._keras.masks import with_mask_of
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_calls
from keras_dnn.diagnostics._guess import Yardstick, yardstick
from keras_dnn.diagnostics._input_numbers import numbers_in
from keras_dnn.diagnostics._nonfinite import Cause, bad_weights, failing
from keras_dnn.diagnostics._output_loss import OutputLoss, in_order, output_losses
from keras_dnn.diagnostics._without_noise import without_noise
from keras_dnn.diagnostics.layer_signal import (
    LayerSignal,
    has_weights,
    norm_of,
    signal_of,
)
from keras_dnn.layers._stochastic import stochastic
from keras_dnn.models._layer_outputs import first_float, watched_calls

layers = keras.layers

GRADIENT_SCALE = 1024.0
"""Of the loss where layers compute in float16, in which small gradients become zero."""


@dataclasses.dataclass(frozen=True)
class _Pass:
    """What one pass forward and back showed."""

    loss: float
    penalty: float
    answered: Any
    layers: tuple[LayerSignal, ...]
    gradients: tuple[float | None, ...]
    entering: list[np.ndarray]


class _Call(NamedTuple):
    """The first call of a layer: what it works on and what it returns."""

    layer: keras.layers.Layer
    taken: Tensor | None
    output: Tensor


class Examination:
    """A model and a batch; what checks ask of them is measured when first asked for.

    Args:
        model: a built and compiled model.
        x: the inputs of the batch, as tensors.
        y: its targets.
        sample_weight: weights of the examples, or `None`.
        given: all inputs and all targets, from which the batch was taken.
        validation: inputs and targets of the validation data, or `None`.

    Attributes:
        losses: what is known of the loss of each output.
        inputs: all inputs, a flat list of arrays.
        targets: all targets, a flat list of arrays.
        validation: the inputs and the targets of the validation data, two flat lists of
            arrays; `None` if there are none.
        loss: the loss of the batch in training mode, without penalties.
        loss_without_noise: the same with dropout and noise off.
        penalty: what regularisation adds to the loss.
        yardstick: what to compare the loss with: that of the best constant answer (its
            `guess`), of equal probabilities for all classes (`uniform`) and of the
            perfect answer (`least`), on the same batch; NaN where it is unknown.
        outputs: of the model, a list of arrays.
        layers: a tuple of `LayerSignal` in the order in which layers are called.
        weighted: those of them that have a kernel and are no output.
        gradients: the norm of the gradient of each trainable variable; `None` where
            there is none.
        nonfinite: the layer in which values that are NaN or infinite begin, with its
            `layer`, `origin` (`"weights"`, `"outputs"` or `"gradient"`) and whether it
            is an `overflow`; `None` if there is none.
        entering: what enters the first layer with weights, a list of arrays: the inputs
            after layers that rescale them. Empty where that layer normalises its inputs
            or is an embedding.

    Raises:
        RuntimeError: if Keras's backend is not TensorFlow.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.diagnostics import Examination
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
        >>> [signal.path for signal in Examination(model, x, y, None, (x, y)).layers]
        ['sequential/dense']
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any,
        sample_weight: Any,
        given: tuple[Any, Any],
        validation: tuple[Any, Any] | None = None,
    ) -> None:
        require_tensorflow("keras_dnn.diagnostics.Examination")
        self.model: keras.Model = model
        self.x: Any = x
        self.y: Any = y
        self.sample_weight: Any = sample_weight
        self.given: tuple[Any, Any] = given
        self._validation = validation

    @functools.cached_property
    def losses(self) -> list[OutputLoss]:
        """What is known of the loss of each output."""
        return output_losses(self.model)

    @functools.cached_property
    def inputs(self) -> list[np.ndarray]:
        """All inputs, a flat list of arrays."""
        return _arrays(self.given[0], "x")

    @functools.cached_property
    def targets(self) -> list[np.ndarray]:
        """All targets, a flat list of arrays."""
        return self._targets_in(self.given[1])

    @functools.cached_property
    def validation(self) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """The inputs and the targets of the validation data; `None` without any."""
        if self._validation is None:
            return None
        x, y = self._validation
        return _arrays(x, "validation_data"), self._targets_in(y)

    def _targets_in(self, y: Any) -> list[np.ndarray]:
        parts = in_order(self.model, y, len(self.losses)) or keras.tree.flatten(y)
        # An output without a loss may have none.
        return [
            np.empty(0) if part is None else np.asarray(_dense(part)) for part in parts
        ]

    @property
    def loss(self) -> float:
        """The loss of the batch in training mode, without penalties."""
        return self._pass.loss

    @functools.cached_property
    def loss_without_noise(self) -> float:
        """The loss of the batch with dropout and noise off, without penalties."""
        if not stochastic(self.model):
            return self.loss
        with unchanged_by_calls(self.model), without_noise(self.model):
            loss, _, _ = losses_of(self.model, self.x, self.y, self.sample_weight)
        return float(loss)

    @property
    def penalty(self) -> float:
        """What regularisation adds to the loss."""
        return self._pass.penalty

    @functools.cached_property
    def yardstick(self) -> Yardstick:
        """The losses that the batch would have with answers that need no network."""
        return yardstick(
            self.model, self.losses, self.y, self.sample_weight, self._pass.answered
        )

    def yardstick_of(self, count: int) -> Yardstick:
        """The same for the first examples alone, as far as formulas give it."""
        rows = slice(count)
        y, weight = rows_of((self.y, self.sample_weight), rows)
        outputs = keras.tree.map_structure(
            lambda output: with_mask_of(output, output[rows], rows),
            self._pass.answered,
        )
        return yardstick(self.model, self.losses, y, weight, outputs, search=False)

    @functools.cached_property
    def outputs(self) -> list[np.ndarray]:
        """The outputs of the model, a list of arrays."""
        return [_as_float32(part) for part in keras.tree.flatten(self._pass.answered)]

    @property
    def layers(self) -> tuple[LayerSignal, ...]:
        """The layers in the order in which they are called."""
        return self._pass.layers

    @property
    def weighted(self) -> list[LayerSignal]:
        """The layers with a kernel, without outputs."""
        return [s for s in self.layers if s.has_kernel and not s.is_output]

    @property
    def gradients(self) -> tuple[float | None, ...]:
        """The norm of each trainable variable's gradient."""
        return self._pass.gradients

    @property
    def entering(self) -> list[np.ndarray]:
        """What enters the first layer with weights: inputs after what rescales them.

        Empty where that layer normalises its inputs or is an embedding.
        """
        return self._pass.entering

    @functools.cached_property
    def nonfinite(self) -> Cause | None:
        """The layer in which values that are not finite begin; `None` without any."""
        found = bad_weights(self.model)
        if found is not None:
            return found
        sizes = [n for s in self.layers for n in (s.rms, s.gradient_norm)]
        gradients = [g for g in self.gradients if g is not None]
        if np.isfinite([self.loss, *sizes, *gradients]).all():
            return None
        with unchanged_by_calls(self.model):
            return failing(self.model, self.x)

    @functools.cached_property
    def _pass(self) -> _Pass:
        """One pass forward and one back, in training mode, as training begins."""
        with unchanged_by_calls(self.model):
            return self._one_pass()

    def _one_pass(self) -> _Pass:
        called: dict[int, _Call] = {}
        model = self.model

        def record(layer: keras.layers.Layer, taken: Any, outputs: Any) -> None:
            output = keras.tree.flatten(outputs)[0]
            if output.dtype.is_floating and id(layer) not in called:
                tape.watch(output)
                called[id(layer)] = _Call(layer, first_float(taken), output)

        scale = GRADIENT_SCALE if _computes_in_float16(model) else 1.0
        with tf.GradientTape() as tape, watched_calls(model, record):
            loss, penalty, outputs = losses_of(
                model, self.x, self.y, self.sample_weight
            )
            total = scale * (loss + penalty)
        in_order = list(called.values())
        variables = [v.value for v in model.trainable_variables]
        # Where nothing enters, a place holder.
        entering = [y if x is None else x for _, x, y in in_order]
        sources = [*variables, *(y for *_, y in in_order), *entering]
        gradients = [_divided(g, scale) for g in tape.gradient(total, sources)]
        of_calls = gradients[len(variables) :]
        final = {id(layer) for layer in output_layers(model)}
        if not final and in_order:
            final = {id(in_order[-1].layer)}
        return _Pass(
            float(loss),
            float(penalty),
            outputs,
            tuple(
                signal_of(layer, output, gradient, id(layer) in final, taken, by_taken)
                for (layer, taken, output), gradient, by_taken in zip(
                    in_order,
                    of_calls[: len(in_order)],
                    of_calls[len(in_order) :],
                    strict=True,
                )
            ),
            tuple(
                None if g is None else norm_of(g) for g in gradients[: len(variables)]
            ),
            self._entering(in_order),
        )

    def _entering(self, in_order: list[_Call]) -> list[np.ndarray]:
        with_weights = [has_weights(call.layer) for call in in_order]
        first = with_weights.index(True) if any(with_weights) else 0
        if not in_order or isinstance(
            in_order[first].layer, layers.Embedding | layers.BatchNormalization
        ):
            return []
        if first and len(self.inputs) == 1:
            return [_as_float32(in_order[first - 1].output)]
        return numbers_in(self.model, _arrays(self.x, "x"))


def _computes_in_float16(model: keras.Model) -> bool:
    return any(layer.compute_dtype == "float16" for layer in sublayers(model))


def _divided(gradient: Any, scale: float) -> Any:
    """The gradient of the loss itself, in float32 if it was scaled."""
    if gradient is None or scale == 1.0:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.cast(gradient.values, tf.float32) / scale
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.cast(gradient, tf.float32) / scale


def _arrays(data: Any, name: str) -> list[np.ndarray]:
    """All arrays in the data; of ragged and sparse ones the numbers they hold."""
    return [
        np.asarray(as_arrays(_dense(part), name))
        for part in keras.tree.flatten(data)
        if part is not None
    ]


def _dense(part: Any) -> Any:
    if isinstance(part, tf.SparseTensor):
        return tf.sparse.to_dense(part)
    return part.flat_values if isinstance(part, tf.RaggedTensor) else part


def _as_float32(tensor: Tensor) -> np.ndarray:
    return np.asarray(tf.cast(tensor, tf.float32))


def losses_of(
    model: keras.Model, x: Any, y: Any, weight: Any
) -> tuple[Tensor, Tensor, Any]:
    """The loss on the data, the penalty and the outputs, in training mode."""
    outputs = call_of(model, x, training=True)
    total = total_loss(model, x, y, outputs, weight, training=True)
    penalty = sum(
        (tf.cast(tf.reduce_sum(part), total.dtype) for part in model.losses),
        tf.zeros((), total.dtype),
    )
    return total - penalty, penalty, outputs
