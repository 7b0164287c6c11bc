"""The best classes of a hierarchical softmax, without all the others."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_dnn import _arguments
from keras_dnn._precision import at_least_float32
from keras_dnn._typing import Tensor
from keras_dnn.layers._best_classes import best_classes
from keras_dnn.layers._log_softmax import log_softmax
from keras_dnn.layers.hierarchical_softmax import HierarchicalSoftmax


@keras.saving.register_keras_serializable(package="keras_dnn")
class HierarchicalTopK(keras.layers.Wrapper):
    """The most probable classes of a `HierarchicalSoftmax`, and how probable they are.

    It replaces the layer in a model for prediction, and shares its weights. The answer
    is exact: no class is more probable than its cluster, so clusters are searched in
    the order of their probability until the worst of the best classes found is more
    probable than the next cluster. The more certain the model, the fewer they are;
    memory for the whole distribution is never needed.

    Args:
        layer: the `HierarchicalSoftmax`.
        k: how many classes, at most all.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `layer` is not a `HierarchicalSoftmax`, or there are fewer than
            `k` classes.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import HierarchicalSoftmax, HierarchicalTopK
        >>> layers = [keras.layers.Dense(16, "relu"), HierarchicalSoftmax(1000)]
        >>> model = keras.Sequential([keras.Input((8,)), *layers])
        >>> best = HierarchicalTopK(model.layers[-1], k=5)
        >>> top = keras.Sequential([keras.Input((8,)), *model.layers[:-1], best])
        >>> probabilities, classes = top.predict(keras.ops.ones((2, 8)), verbose=0)
        >>> probabilities.shape, classes.shape
        ((2, 5), (2, 5))

    Reference:
        J. Goodman, "Classes for fast maximum entropy training", 2001.
    """

    def __init__(self, layer: keras.layers.Layer, k: int, **kwargs: Any) -> None:
        if not isinstance(layer, HierarchicalSoftmax):
            raise ValueError(
                f"layer must be a HierarchicalSoftmax. Received: layer={layer!r}"
            )
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(layer, **kwargs)
        self.supports_masking = True
        self.k = _arguments.count("k", k)
        if self.k > layer.n_classes:
            raise ValueError(
                f"k must not be more than the {layer.n_classes} classes. "
                f"Received: k={k!r}"
            )

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities in descending order, and the classes that they belong to."""
        layer, dtype = self.layer, self.compute_dtype
        kernel, bias, class_at, filled = (
            ops.convert_to_tensor(table)
            for table in (
                layer.kernel,
                layer.bias,
                layer.levels.class_at(),
                layer.levels.filled(),
            )
        )

        def classes_in(cluster: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
            logits = ops.matmul(ops.cast(kernel[cluster], dtype), hidden)
            logits = logits + ops.cast(bias[cluster], dtype)
            return log_softmax(logits, filled[cluster]), class_at[cluster]

        hidden = ops.reshape(inputs, (-1, inputs.shape[-1]))
        clusters = layer.cluster_log_probabilities(hidden)
        best, classes = best_classes(clusters, hidden, classes_in, self.k)
        shape = (*ops.shape(inputs)[:-1], self.k)
        return ops.reshape(ops.exp(best), shape), ops.reshape(classes, shape)

    def compute_output_spec(
        self, inputs: Tensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """The shapes and dtypes of what `call` returns."""
        shape = (*inputs.shape[:-1], self.k)
        dtype = at_least_float32(self.compute_dtype)
        return keras.KerasTensor(shape, dtype), keras.KerasTensor(shape, "int32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "k": self.k}
