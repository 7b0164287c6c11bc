"""Checks of how the network is put together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import graph_of
from keras_dnn._keras.layers import sublayers
from keras_dnn.diagnostics._loss import CROSSENTROPIES
from keras_dnn.diagnostics.check import Check, register_check
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.initializers.activation_table import TABLE, for_activation
from keras_dnn.initializers.lecun import LeCunNormal
from keras_dnn.layers._stochastic import rates

layers = keras.layers


@register_check(
    "nothing-trainable",
    blocking=True,
    looks_for="a network without trainable weights",
    advice="Set trainable=True where it should learn, and compile again.",
)
def nothing_trainable(look: Examination, check: Check) -> Iterator[Finding]:
    """Everything is frozen."""
    if not look.model.trainable_variables:
        yield check.finding(
            "error",
            "No weight is trainable.",
            weights=len(look.model.variables),
        )


@register_check(
    "loss-and-activation",
    looks_for="an output that is not what the loss takes",
    advice="Softmax or sigmoid at the end and from_logits=False, or no activation and "
    "from_logits=True.",
)
def loss_and_activation(look: Examination, check: Check) -> Iterator[Finding]:
    """Keras doesn't compare the two, and training goes on, badly."""
    for loss in look.losses:
        wanted, found = CROSSENTROPIES.get(loss.name), loss.activation
        # A loss takes sigmoids for independent classes where it takes softmax.
        probabilities = found in ("softmax", "sigmoid", "hard_sigmoid")
        if wanted is None or found is None:
            continue
        if loss.from_logits and probabilities:
            message = f"The loss takes logits, but the output is a {found}."
        elif not loss.from_logits and not probabilities:
            message = f"The loss takes probabilities, but the output is {found}."
        elif found == "softmax" and loss.classes == 1:
            message = "A softmax of one unit always says 1."
        elif loss.name == "sparse_categorical_crossentropy" and loss.classes == 1:
            message = "One unit can't tell classes apart: use binary_crossentropy."
        else:
            continue
        yield check.finding(
            "error",
            message,
            loss.layer,
            loss=loss.name,
            from_logits=loss.from_logits,
            activation=found,
        )


@register_check(
    "symmetric-weights",
    looks_for="units that all begin with the same weights",
    advice="Initialise kernels at random; only biases may begin at zero.",
)
def symmetric_weights(look: Examination, check: Check) -> Iterator[Finding]:
    """Units with the same weights get the same gradients and stay the same for ever."""
    for seen in look.weighted:
        for variable in seen.layer._trainable_variables:
            kernel = np.asarray(keras.ops.convert_to_numpy(variable.value))
            # By name: a kernel that begins at zero as a gate or adapter is meant to.
            if kernel.ndim < 2 or not variable.name.endswith("kernel"):
                continue
            if kernel.shape[-1] > 1 and not np.ptp(kernel, axis=-1).any():
                yield check.finding(
                    "error",
                    "All units have the same initial weights.",
                    seen.path,
                    value=float(kernel.flat[0]),
                    units=int(kernel.shape[-1]),
                )


@register_check(
    "useless-bias",
    looks_for="a bias that the batch norm behind it takes away",
    advice="use_bias=False: the batch norm has an offset of its own.",
)
def useless_bias(look: Examination, check: Check) -> Iterator[Finding]:
    """Subtracting the mean subtracts the bias."""
    found = [layer for graph in _graphs(look.model) for layer in _biased(graph)]
    if found:
        yield check.finding(
            "note",
            f"{len(found)} layer{'s have' if len(found) > 1 else ' has'} a bias that "
            "the batch norm behind takes away.",
            found[0].path,
            weights=sum(int(np.prod(layer.bias.shape)) for layer in found),
        )


def _graphs(model: Any) -> Iterator[Any]:
    for part in sublayers(model):
        graph = graph_of(part)
        if graph is not None:
            yield graph


def _biased(graph: Any) -> Iterator[Any]:
    for node in graph.nodes:
        layer = node.operation
        linear = getattr(layer, "activation", None) is keras.activations.linear
        if not (linear and getattr(layer, "use_bias", False)):
            continue
        behind = [n.operation for t in node.outputs for n in graph.consumers(t)]
        norms = [part for part in behind if isinstance(part, layers.BatchNormalization)]
        # One that is frozen subtracts another mean than that of the batch.
        if norms and norms == behind and all(norm.trainable for norm in norms):
            yield layer


@register_check(
    "self-normalisation",
    looks_for="what keeps a SELU network from normalising itself",
    source="Klambauer et al., Self-Normalizing Neural Networks, 2017",
    advice="SELU wants LeCun's normal initialisation, standardised inputs, "
    "AlphaDropout in place of Dropout, and no batch norm.",
)
def self_normalisation(look: Examination, check: Check) -> Iterator[Finding]:
    """The proof needs every one of its conditions."""
    selu = [s for s in look.layers if _activation(s.layer) == "selu" and s.weighted]
    if not selu:
        return
    for seen in selu:
        initializer = getattr(seen.layer, "kernel_initializer", None)
        if initializer is not None and not _is_lecun(initializer):
            yield check.finding(
                "warning",
                "SELU without LeCun's initialisation.",
                seen.path,
                initializer=type(initializer).__name__,
            )
            break
    for part in sublayers(look.model):
        plain = isinstance(part, layers.Dropout | layers.GaussianDropout)
        if plain and rates(part) and not isinstance(part, layers.AlphaDropout):
            yield check.finding(
                "warning",
                "Dropout moves mean and variance where SELU keeps them.",
                part.path or part.name,
                rate=float(part.rate),
            )
            break


def _is_lecun(initializer: Any) -> bool:
    if isinstance(initializer, LeCunNormal | keras.initializers.LecunNormal):
        return True
    scale = getattr(initializer, "scale", None)
    mode = getattr(initializer, "mode", None)
    return bool(scale == 1.0 and mode == "fan_in")


@register_check(
    "initializer",
    looks_for="an initialisation that does not suit the activation",
    threshold=1.8,
    source="the table of the notes: Glorot, He, LeCun; a factor on the variance",
    advice="keras_dnn.initializers.for_activation(activation) gives the one that does.",
)
def initializer(look: Examination, check: Check) -> Iterator[Finding]:
    """It matters with depth, hardly in a shallow network or before a batch norm."""
    found = []
    limit = check.threshold or 1.0
    for seen in look.weighted:
        activation = _activation(seen.layer)
        given = _variance(getattr(seen.layer, "kernel_initializer", None))
        # SELU has a check of its own; behind a linear layer the function may follow.
        if activation not in TABLE or activation in ("linear", "selu") or not given:
            continue
        ratio = given / _variance(for_activation(activation))
        if ratio > limit or ratio < 1 / limit:
            found.append((seen.path, activation, ratio))
    if len(found) > 2:
        path, activation, ratio = found[0]
        yield check.finding(
            "note",
            f"{len(found)} layers begin with weights of another size than suits their "
            f"activation: with {activation}, {ratio:.2g} times the variance.",
            path,
            layers=len(found),
            ratio=ratio,
        )


def _variance(initializer: Any) -> float:
    """How large weights are beside 1 over the number of connections; 0 if unknown."""
    scale = getattr(initializer, "scale", 0.0)
    return float(scale * getattr(initializer, "gain", 1.0) ** 2)


def _activation(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")
