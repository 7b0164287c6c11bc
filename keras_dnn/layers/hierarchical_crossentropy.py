"""The loss of a hierarchical softmax, which computes no more than it needs.

It is next to its layer, because neither is useful without the other.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._keras.losses import reduced
from keras_dnn._keras.masks import attach_mask
from keras_dnn._typing import Tensor
from keras_dnn.layers._deferred import deferred

Reduction: TypeAlias = Literal[
    "sum_over_batch_size", "sum", "mean", "mean_with_sample_weight"
]


@keras.saving.register_keras_serializable(package="keras_dnn")
class HierarchicalCrossentropy(keras.losses.Loss):
    r"""Cross-entropy of a `HierarchicalSoftmax`, at the cost of √V classes.

    $$
    -\ln p(y \mid h) = -\ln p(c(y) \mid h) - \ln p(y \mid c(y), h)
    $$

    Its value is that of `keras.losses.SparseCategoricalCrossentropy` on the layer's
    output. But it computes only the clusters and the classes in each target's cluster:
    the layer attaches its inputs to its output, as Keras attaches a mask, and a
    compiled step leaves out the output itself, which nothing reads any more. For
    anything else, such as an array from `predict`, it is Keras's function.

    Targets are integers of shape `(...)` or `(..., 1)` for outputs of shape
    `(..., n_classes)`. Masks and sample weights count as in every loss of Keras.

    Args:
        reduction: as in Keras: `"sum_over_batch_size"`, `"sum"`, `"mean"`,
            `"mean_with_sample_weight"` or `None`.
        name: of the loss.
        dtype: of its result.
        ignore_class: a label, such as -1 for padding, whose examples do not count, as
            in `keras.losses.SparseCategoricalCrossentropy`.

    Raises:
        ValueError: if the targets are not one integer for each example, or
            `ignore_class` is not an integer. In a compiled step TensorFlow names labels
            that are no class in an `InvalidArgumentError`.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.layers import HierarchicalCrossentropy, HierarchicalSoftmax
        >>> layer, loss = HierarchicalSoftmax(10_000), HierarchicalCrossentropy()
        >>> x, y = keras.random.normal((2, 16)), np.array([42, 4711])
        >>> p = layer(x)
        >>> rows = keras.ops.convert_to_numpy(p)
        >>> expected = -np.log([rows[0, 42], rows[1, 4711]]).mean()
        >>> bool(np.isclose(float(loss(y, p)), expected))
        True

    Reference:
        J. Goodman, "Classes for fast maximum entropy training", 2001.
    """

    def __init__(
        self,
        reduction: Reduction | None = "sum_over_batch_size",
        name: str = "hierarchical_crossentropy",
        dtype: str | keras.DTypePolicy | None = None,
        *,
        ignore_class: int | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if ignore_class is not None:
            ignore_class = _arguments.integer("ignore_class", ignore_class)
        self.ignore_class = ignore_class

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        """The reduced loss."""
        # Not as in Keras, which casts both first: a large class would be rounded, and
        # the note on the output could be lost.
        values = self.call(y_true, y_pred)
        return reduced(values, y_pred, sample_weight, self.reduction, self.dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of each example."""
        classes = ops.convert_to_tensor(y_true)
        if len(classes.shape) == len(y_pred.shape) and classes.shape[-1] == 1:
            classes = ops.squeeze(classes, -1)
        if len(classes.shape) != len(y_pred.shape) - 1:
            raise ValueError(
                "y_true must hold an integer for each example, not a number for each "
                f"class. Received: y_true of shape {tuple(classes.shape)} and y_pred "
                f"of shape {tuple(y_pred.shape)}"
            )
        source, ignored = deferred(y_pred), self.ignore_class
        if source is None:
            return keras.losses.sparse_categorical_crossentropy(
                classes, y_pred, ignore_class=ignored
            )
        if ignored is None:
            return -source.layer.log_probability(source.inputs, classes)
        counts = ops.not_equal(classes, ignored)
        classes = ops.where(counts, classes, ops.zeros_like(classes))
        logarithms = source.layer.log_probability(source.inputs, classes)
        values = ops.where(counts, -logarithms, ops.zeros_like(logarithms))
        attach_mask(values, counts)
        return values

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "ignore_class": self.ignore_class}
