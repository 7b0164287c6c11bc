r"""Dropout before a last linear layer: mean and covariance without a sample.

With masks $z_i$ of mean 1 and variance $v$, independent, the outputs
$y = \sum_i z_i h_i W_i + b$ have the mean $hW + b$ and the covariance
$v \sum_i h_i^2 W_i W_i^\top$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_dnn._layer_kinds import SPATIAL_DROPOUTS
from keras_dnn.models._sampling.measures import Task
from keras_dnn.models._sampling.sampler import Sampler


def closed_form(sampler: Sampler, task: Task) -> Callable[[Any, int], list[Any]]:
    """The function that gives a batch's measures.

    Raises:
        ValueError: if the model has no closed form, or samples are asked for.
    """
    if task.return_samples or task.quantiles:
        raise ValueError(
            "samples=0 draws no samples that could be returned or have quantiles. "
            "Received: samples=0"
        )
    dropout, dense = _head(sampler)
    variance = dropout.rate / (1 - dropout.rate)

    def measures(x: Any, first_row: int) -> list[Any]:
        (inputs,) = sampler.cut(x).values.values()
        h = np.asarray(inputs, "float64")
        kernel = np.asarray(keras.ops.convert_to_numpy(dense.kernel), "float64")
        mean = h @ kernel
        if dense.bias is not None:
            mean += keras.ops.convert_to_numpy(dense.bias)
        covariance = variance * np.einsum(
            "ni,ic,id->ncd", h**2, kernel, kernel, optimize=True
        )
        std = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        found = {"mean": mean, "std": std, "covariance": covariance, "proper": False}
        return [[found]]

    return measures


def _head(sampler: Sampler) -> tuple[Any, keras.layers.Dense]:
    """The dropout layer and the dense layer that are all of the random part."""
    split = sampler.split
    nodes = split.after
    if split.graph is not None and len(split.graph.outputs) == 1 and len(nodes) == 2:
        dropout, dense = (node.operation for node in nodes)
        drops_units = isinstance(dropout, keras.layers.GaussianDropout) or (
            isinstance(dropout, keras.layers.Dropout)
            and not isinstance(dropout, SPATIAL_DROPOUTS)
            and dropout.noise_shape is None
        )
        if (
            drops_units
            and type(dense) is keras.layers.Dense
            and dense.activation is keras.activations.linear
            and len(nodes[0].outputs[0].shape) == 2
        ):
            return dropout, dense
    raise ValueError(
        "samples=0 needs a model whose only dropout feeds a last Dense without an "
        "activation, in rows of numbers. Ask for samples, or restrict layers. "
        f"Received: samples=0 and the model {sampler.model.name!r}"
    )
