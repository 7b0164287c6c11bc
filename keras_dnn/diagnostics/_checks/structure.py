"""Checks of how the network is put together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import Graph, graph_of
from keras_dnn._keras.layers import sublayers
from keras_dnn._layer_kinds import DROPOUTS
from keras_dnn.diagnostics.check import Check, built_in
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.initializers.activation_table import TABLE, for_activation
from keras_dnn.initializers.lecun import LeCunNormal
from keras_dnn.layers._stochastic import rates

layers = keras.layers


@built_in(
    "nothing-trainable",
    when="before",
    blocking=True,
    looks_for="a network without trainable weights",
    advice="Set trainable=True on the layers that should learn, and compile again.",
)
def nothing_trainable(examination: Examination, check: Check) -> Iterator[Finding]:
    """Everything is frozen."""
    if not examination.model.trainable_variables:
        yield check.finding(
            "error",
            "No weight is trainable.",
            weights=len(examination.model.variables),
        )


@built_in(
    "useless-bias",
    when="before",
    looks_for="a bias that the next layer, a batch norm, removes",
    advice="Set use_bias=False: the batch norm has an offset of its own.",
)
def useless_bias(examination: Examination, check: Check) -> Iterator[Finding]:
    """Subtracting the mean subtracts the bias."""
    graphs = map(graph_of, sublayers(examination.model))
    found = [layer for graph in graphs if graph is not None for layer in _biased(graph)]
    if found:
        yield check.finding(
            "note",
            f"{len(found)} layer{'s have' if len(found) > 1 else ' has'} a bias that "
            "the next layer, a batch norm, removes.",
            found[0].path,
            weights=sum(int(np.prod(layer.bias.shape)) for layer in found),
        )


def _biased(graph: Graph) -> Iterator[Any]:
    """Linear layers with a bias of which every consumer is a batch norm."""
    for node in graph.nodes:
        layer = node.operation
        linear = getattr(layer, "activation", None) is keras.activations.linear
        if not (linear and getattr(layer, "use_bias", False)):
            continue
        next_layers = [n.operation for t in node.outputs for n in graph.consumers(t)]
        # A frozen one does not subtract the mean of the batch.
        if next_layers and all(
            isinstance(part, layers.BatchNormalization) and part.trainable
            for part in next_layers
        ):
            yield layer


@built_in(
    "self-normalisation",
    when="before",
    looks_for="what keeps a SELU network from normalising itself",
    source="Klambauer et al., Self-Normalizing Neural Networks, 2017",
    advice="Use LeCun normal initialisation, standardised inputs, AlphaDropout in "
    "place of Dropout, and no batch norm.",
)
def self_normalisation(examination: Examination, check: Check) -> Iterator[Finding]:
    """The proof needs every one of its conditions."""
    selu = [
        signal
        for signal in examination.layers
        if _activation(signal.layer) == "selu" and signal.has_kernel
    ]
    if not selu:
        return
    for signal in selu:
        initializer = getattr(signal.layer, "kernel_initializer", None)
        if initializer is not None and not _is_lecun(initializer):
            name = type(initializer).__name__
            yield check.finding(
                "warning",
                f"SELU needs LeCun initialisation, but the layer uses {name}.",
                signal.path,
                initializer=name,
            )
            break
    for part in sublayers(examination.model):
        drops = isinstance(part, DROPOUTS) and rates(part)
        if drops and not isinstance(part, layers.AlphaDropout):
            yield check.finding(
                "warning",
                "Dropout changes the mean and variance that SELU keeps.",
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


@built_in(
    "initializer",
    when="before",
    looks_for="an initialisation that does not suit the activation",
    threshold=1.8,
    source="the variances of Glorot, He and LeCun for each activation; a factor on it",
    advice="Use keras_dnn.initializers.for_activation(activation).",
)
def initializer(examination: Examination, check: Check) -> Iterator[Finding]:
    """It matters with depth, hardly in a shallow network or before a batch norm."""
    found = []
    for signal in examination.weighted:
        activation = _activation(signal.layer)
        variance = _variance(getattr(signal.layer, "kernel_initializer", None))
        # SELU has its own check; a linear layer may be followed by its activation.
        known = activation in TABLE and activation not in ("linear", "selu")
        if not known or not variance:
            continue
        ratio = variance / _variance(for_activation(activation))
        if ratio > check.threshold or ratio < 1 / check.threshold:
            found.append((signal.path, activation, ratio))
    if len(found) > 2:
        path, activation, ratio = found[0]
        wanted = f"{_times(ratio)} the variance that {activation} needs"
        alike = len({(activation, ratio) for _, activation, ratio in found}) == 1
        yield check.finding(
            "note",
            f"{len(found)} layers are initialised with {wanted}."
            if alike
            else f"The initialisation of {len(found)} layers does not suit their "
            f"activation; the first has {wanted}.",
            path,
            layers=len(found),
            ratio=ratio,
        )


def _times(ratio: float) -> str:
    return {"0.5": "half", "2": "twice"}.get(f"{ratio:.2g}", f"{ratio:.2g} times")


def _variance(initializer: Any) -> float:
    """The variance times the number of connections; 0 if unknown."""
    scale = getattr(initializer, "scale", 0.0)
    return float(scale * getattr(initializer, "gain", 1.0) ** 2)


def _activation(layer: keras.layers.Layer) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")
