"""What checks examine before training: a model, a batch, and one pass through it."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from keras_dnn._batches import as_arrays, rows_of
from keras_dnn._keras.masks import with_mask_of
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._unchanged import unchanged_by_calls
from keras_dnn.diagnostics._input_numbers import numbers_in
from keras_dnn.diagnostics._nonfinite import Cause, bad_weights, failing
from keras_dnn.diagnostics._one_pass import Pass, as_float32, losses_of, one_pass
from keras_dnn.diagnostics._without_noise import without_noise
from keras_dnn.diagnostics._yardstick.guess import Yardstick, yardstick
from keras_dnn.diagnostics._yardstick.output_loss import (
    OutputLoss,
    in_order,
    output_losses,
)
from keras_dnn.diagnostics.layer_signal import (
    LayerSignal,
)
from keras_dnn.layers._stochastic import stochastic

layers = keras.layers


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
        """The same for the first examples alone, as far as formulas give it.

        Args:
            count: the number of examples.

        Returns:
            The losses, NaN where only a search would find them.
        """
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
        return [as_float32(part) for part in keras.tree.flatten(self._pass.answered)]

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
        return self._entering

    @functools.cached_property
    def _entering(self) -> list[np.ndarray]:
        found = self._pass.entering
        if found is not None and (not found or len(self.inputs) == 1):
            return found
        return numbers_in(self.model, _arrays(self.x, "x"))

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
    def _pass(self) -> Pass:
        """One pass forward and one back, in training mode, as training begins."""
        with unchanged_by_calls(self.model):
            return one_pass(self.model, self.x, self.y, self.sample_weight)


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
