"""How many of a model's weights are zero."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._result import Result
from keras_dnn.models._pruning.kernels import layers_by_path, matrices

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class Sparsity(Result):
    """How many weights of a model are zero, overall and by layer.

    Attributes:
        overall: the fraction of all these weights that are zero.
        by_layer: the fraction in each layer, by its name; for a layer in a nested model
            by `"model/layer"`.
        weights: how many weights each layer has.
        threshold: the largest absolute value that counts as zero.
    """

    overall: float
    by_layer: dict[str, float]
    weights: dict[str, int]
    threshold: float

    def __str__(self) -> str:
        zero = f"at most {self.threshold:g} in size" if self.threshold else "zero"
        total = sum(self.weights.values())
        lines = [f"{100 * self.overall:5.1f}% of {total:,} weights are {zero}"]
        lines += [
            f"{100 * fraction:5.1f}% of {self.weights[name]:,} in {name}"
            for name, fraction in self.by_layer.items()
        ]
        return "\n  ".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the fractions as bars.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        return plotting.zero_weights(self.by_layer, self.weights, ax=ax)


def sparsity(model: keras.Model, threshold: float = 0.0) -> Sparsity:
    """Counts the weights of a model that are zero, or nearly so.

    It counts kernels, recurrent kernels, embeddings and all other weights that have
    more than one axis and can be trained, frozen or not. It does not count biases or
    the scales and offsets of normalisation.

    An `l1` penalty makes weights small, but gradient descent hardly ever makes one
    exactly zero: its steps keep crossing zero. Give a threshold for these.

    Args:
        model: a model with weights.
        threshold: the largest absolute value that counts as zero.

    Returns:
        A `Sparsity` with `overall` and `by_layer`.

    Raises:
        ValueError: if the threshold is not a number of at least 0, or the model has no
            such weights, for instance because it is not built.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.models import sparsity
        >>> model = keras.Sequential(
        ...     [keras.Input((2,)), keras.layers.Dense(2, name="dense")]
        ... )
        >>> kernel = np.array([[0.5, 0.0], [-0.01, 2.0]])
        >>> model.set_weights([kernel, np.zeros(2)])
        >>> print(sparsity(model))
         25.0% of 4 weights are zero
           25.0% of 4 in dense
        >>> sparsity(model, threshold=0.02).overall
        0.5
    """
    threshold = _arguments.number("threshold", threshold)
    weights: dict[str, int] = {}
    zeros: dict[str, int] = {}
    for name, layer in layers_by_path(model).items():
        found = [keras.ops.convert_to_numpy(v) for v in matrices(layer)]
        if found:
            weights[name] = sum(w.size for w in found)
            # NaN compares false, so it never counts as zero.
            small = [np.count_nonzero(np.abs(w) <= threshold) for w in found]
            zeros[name] = sum(map(int, small))
    if not weights:
        raise ValueError(
            "model must be built and have weights with more than one axis that can be "
            "trained, which quantised layers have not. "
            f"Received: model={model.name!r}"
        )
    return Sparsity(
        overall=sum(zeros.values()) / sum(weights.values()),
        by_layer={name: zeros[name] / weights[name] for name in weights},
        weights=weights,
        threshold=threshold,
    )
