"""What checks look at: a network, a batch, and what one pass through it shows."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import output_layers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn._unchanged import unchanged_by_calls
from keras_dnn.diagnostics._loss import Loss, loss_of
from keras_dnn.diagnostics._quiet import without_noise
from keras_dnn.diagnostics.layer_signal import (
    LayerSignal,
    has_weights,
    norm_of,
    signal_of,
)
from keras_dnn.layers._stochastic import stochastic
from keras_dnn.models._layer_outputs import watched

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class _Pass:
    loss: float
    penalty: float
    outputs: list[np.ndarray]
    layers: tuple[LayerSignal, ...]
    gradients: tuple[float | None, ...]


class Examination:
    """A network and a batch, and what is measured on them when a check first asks.

    Args:
        model: a built and compiled model.
        x: its inputs, as tensors.
        y: its targets.
        sample_weight: weights of the examples, or `None`.
        given: all inputs and all targets, of which these are some.

    Attributes:
        losses: what is known of the loss of each output.
        inputs: the inputs as a flat list of arrays.
        targets: the targets as a flat list of arrays, all that there are.
        loss: of the batch in training mode, without penalties.
        quiet_loss: the same with dropout and noise off.
        penalty: what regularisation adds to it.
        outputs: of the network, a list of arrays.
        layers: a tuple of `LayerSignal` in the order in which layers are called.
        weighted: those of them that multiply with weights and are no output.
        gradients: the norm of the gradient of each trainable variable; `None` where
            there is none.
        entering: what enters the first layer with weights, a list of arrays: inputs
            after what rescales them. Empty where that layer normalises or looks up.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.diagnostics import Examination
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
        >>> [seen.path for seen in Examination(model, x, y, None, (x, y)).layers]
        ['sequential/dense']
    """

    def __init__(
        self, model: keras.Model, x: Any, y: Any, sample_weight: Any, given: Any
    ) -> None:
        self.model = model
        self.x, self.y, self.sample_weight = x, y, sample_weight
        self.given = given

    @functools.cached_property
    def losses(self) -> list[Loss]:
        """What is known of the loss of each output."""
        return loss_of(self.model)

    @functools.cached_property
    def inputs(self) -> list[np.ndarray]:
        """The inputs as a flat list of arrays, all that there are."""
        return [np.asarray(part) for part in keras.tree.flatten(self.given[0])]

    @functools.cached_property
    def targets(self) -> list[np.ndarray]:
        """The targets as a flat list of arrays, all that there are."""
        return [np.asarray(part) for part in keras.tree.flatten(self.given[1])]

    @property
    def loss(self) -> float:
        """The loss of the batch, without penalties."""
        return self._seen.loss

    @functools.cached_property
    def quiet_loss(self) -> float:
        """The loss of the batch with dropout and noise off, without penalties."""
        if not stochastic(self.model):
            return self.loss
        with unchanged_by_calls(self.model), without_noise(self.model):
            loss, _, _ = losses_of(self.model, self.x, self.y, self.sample_weight)
        return float(loss)

    @property
    def penalty(self) -> float:
        """What regularisation adds to it."""
        return self._seen.penalty

    @property
    def outputs(self) -> list[np.ndarray]:
        """What the network gives."""
        return self._seen.outputs

    @property
    def layers(self) -> tuple[LayerSignal, ...]:
        """The layers in the order in which they are called."""
        return self._seen.layers

    @property
    def weighted(self) -> list[LayerSignal]:
        """The layers with weights, without outputs."""
        return [seen for seen in self.layers if seen.weighted and not seen.output]

    @property
    def gradients(self) -> tuple[float | None, ...]:
        """The norm of each trainable variable's gradient."""
        return self._seen.gradients

    @property
    def entering(self) -> list[np.ndarray]:
        """What enters the first layer with weights: inputs after what rescales them.

        Empty where that layer normalises or looks up by itself.
        """
        _ = self._seen
        return self._entering

    def _rescaled(
        self, seen: list[tuple[keras.layers.Layer, Tensor]]
    ) -> list[np.ndarray]:
        first = next((i for i, (part, _) in enumerate(seen) if has_weights(part)), 0)
        if not seen or isinstance(
            seen[first][0], layers.Embedding | layers.BatchNormalization
        ):
            return []
        if first and len(self.inputs) == 1:
            return [np.asarray(tf.cast(seen[first - 1][1], tf.float32))]
        some = [np.asarray(part) for part in keras.tree.flatten(self.x)]
        return [part for part in some if part.dtype.kind == "f"]

    @functools.cached_property
    def _seen(self) -> _Pass:
        """One pass forward and one back, in training mode, as training begins."""
        with unchanged_by_calls(self.model):
            return self._one_pass()

    def _one_pass(self) -> _Pass:
        seen: dict[int, tuple[keras.layers.Layer, Tensor]] = {}
        model = self.model

        def see(layer: keras.layers.Layer, outputs: Any) -> None:
            output = keras.tree.flatten(outputs)[0]
            if output.dtype.is_floating and id(layer) not in seen:
                tape.watch(output)
                seen[id(layer)] = (layer, output)

        with tf.GradientTape() as tape, watched(model, see):
            loss, penalty, outputs = losses_of(
                model, self.x, self.y, self.sample_weight
            )
            total = loss + penalty
        self._entering = self._rescaled(list(seen.values()))
        variables = [v.value for v in model.trainable_variables]
        tensors = [output for _, output in seen.values()]
        found = tape.gradient(total, [*variables, *tensors])
        weights, signals = found[: len(variables)], found[len(variables) :]
        final = {id(layer) for layer in output_layers(model)}
        if not final and seen:
            final = {id(list(seen.values())[-1][0])}
        return _Pass(
            float(loss),
            float(penalty),
            [np.asarray(tf.cast(o, tf.float32)) for o in keras.tree.flatten(outputs)],
            tuple(
                signal_of(layer, output, gradient, id(layer) in final)
                for (layer, output), gradient in zip(
                    seen.values(), signals, strict=True
                )
            ),
            tuple(None if g is None else norm_of(g) for g in weights),
        )


def losses_of(
    model: keras.Model, x: Any, y: Any, weight: Any
) -> tuple[Tensor, Tensor, Any]:
    """The data's loss, the penalty and the outputs, in training mode."""
    outputs = model(x, training=True)
    total = model.compute_loss(x, y, outputs, weight, training=True)
    penalty = sum(
        (tf.cast(tf.reduce_sum(part), total.dtype) for part in model.losses),
        tf.zeros((), total.dtype),
    )
    return total - penalty, penalty, outputs
