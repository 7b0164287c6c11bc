"""Softmax over many classes in two steps: a cluster, then a class in it.

J. Goodman, "Classes for fast maximum entropy training", 2001.
F. Morin and Y. Bengio, "Hierarchical probabilistic neural network language model",
2005.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dnn import _arguments
from keras_dnn._precision import at_least_float32
from keras_dnn._typing import Shape, Tensor
from keras_dnn.initializers import GlorotUniform
from keras_dnn.layers._blocks import checked_classes, in_blocks, look_up
from keras_dnn.layers._deferred import defer
from keras_dnn.layers._log_softmax import log_softmax
from keras_dnn.layers._two_levels import Clusters, Frequencies, two_levels


@keras.saving.register_keras_serializable(package="keras_dnn")
class HierarchicalSoftmax(keras.layers.Layer):
    r"""An output layer for many classes, trained at the cost of a few.

    Each class $y$ belongs to one cluster $c(y)$, and

    $$
    p(y \mid h) = p(c(y) \mid h) \; p(y \mid c(y), h), \qquad
    p(c \mid h) = \mathrm{softmax}_c(v_c \cdot h + a_c), \quad
    p(y \mid c, h) = \mathrm{softmax}_{y \in c}(w_y \cdot h + b_y)
    $$

    With $4 \sqrt V$ clusters of $\sqrt V / 4$ classes the logarithm of one probability
    costs $4.25 \sqrt V$ products in place of $V$. Training with
    `keras_dnn.layers.HierarchicalCrossentropy` computes only these; `fit` and
    `evaluate` are Keras's own. `predict` gives the exact distribution over all classes,
    in float32 under mixed precision. Another loss, or a metric such as accuracy, works
    too; it needs the whole distribution, and makes `fit` as expensive as that.

    Args:
        n_classes: how many classes there are; targets are integers below it.
        clusters: how many clusters, or a list with the cluster of each class, counted
            from 0; 4 √`n_classes` by default. Clusters of similar classes train best:
            the guide "Many classes" shows how to make some. They are padded to the size
            of the largest. A single example is cheapest with √`n_classes`; a batch
            shares the weights of the clusters, but reads those of all classes in each
            cluster that occurs in it, and is cheapest with several times as many.
        frequencies: how often each class occurs. Classes are then divided into clusters
            in the order of their frequency, so that few clusters occur in a batch.
            Without it they are divided in the order of their numbers, which is the same
            if classes are numbered by frequency.
        probabilities_in_training: `False` gives NaN for probabilities in training mode,
            for a loss that doesn't read them: metrics are then NaN in `fit`, and right
            in validation, `evaluate` and `predict`. It saves a copy of all weights,
            which TensorFlow makes at each step of an optimizer that updates rows: see
            the guide "Many classes".
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `n_classes` is less than 2, there are more clusters than
            classes, a cluster is empty, or the length of a list is not `n_classes`.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.layers import HierarchicalCrossentropy, HierarchicalSoftmax
        >>> hidden = keras.Input((8,))
        >>> layer = HierarchicalSoftmax(1000)
        >>> model = keras.Model(hidden, layer(hidden))
        >>> model.compile("sgd", HierarchicalCrossentropy())
        >>> x, y = np.ones((4, 8)), np.array([3, 1, 4, 1])
        >>> history = model.fit(x, y, verbose=0)
        >>> model.predict(x, verbose=0).shape
        (4, 1000)

    Reference:
        J. Goodman, "Classes for fast maximum entropy training", 2001;
        F. Morin and Y. Bengio, "Hierarchical probabilistic neural network language
        model", 2005.
    """

    def __init__(
        self,
        n_classes: int,
        clusters: Clusters = None,
        frequencies: Frequencies = None,
        *,
        probabilities_in_training: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_classes = _arguments.count("n_classes", n_classes, least=2)
        self.levels = two_levels(self.n_classes, clusters, frequencies)
        self.clusters = _plain(clusters)
        self.frequencies = _plain(frequencies)
        self.probabilities_in_training = _arguments.switch(
            "probabilities_in_training", probabilities_in_training
        )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Makes the weights of the clusters, and those of the classes in each."""
        units, n_clusters = input_shape[-1], len(self.levels.sizes)
        width = self.levels.width
        self.cluster_kernel = self.add_weight(
            (units, n_clusters), "glorot_uniform", name="cluster_kernel"
        )
        self.cluster_bias = self.add_weight((n_clusters,), "zeros", name="cluster_bias")
        # A step uses some of these rows only, so they are not cast as a whole.
        self.kernel = self.add_weight(
            (n_clusters, width, units),
            GlorotUniform(fan_in=units, fan_out=width),
            name="kernel",
            autocast=False,
        )
        self.bias = self.add_weight(
            (n_clusters, width), "zeros", name="bias", autocast=False
        )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """The probability of each class."""
        if training and not self.probabilities_in_training:
            shape = (*ops.shape(inputs)[:-1], self.n_classes)
            probabilities = ops.full(shape, np.nan, self._result_dtype())
        else:
            probabilities = self._probabilities(inputs)
        defer(probabilities, self, inputs)
        return probabilities

    def _probabilities(self, inputs: Tensor) -> Tensor:
        of_cluster = ops.expand_dims(self.cluster_log_probabilities(inputs), -1)
        logits = ops.einsum("...u,cwu->...cw", inputs, self._cast(self.kernel))
        within = log_softmax(logits + self._cast(self.bias), self._filled())
        n_clusters, width = within.shape[-2:]
        shape = (*ops.shape(inputs)[:-1], n_clusters * width)
        joint = ops.reshape(ops.exp(of_cluster + within), shape)
        places = self.levels.cluster_of * width + self.levels.position_of
        return ops.take(joint, places, axis=-1)

    def log_probability(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """The logarithm of the probability of one class for each input.

        Its cost grows with √`n_classes`. The loss computes this.

        Args:
            inputs: the inputs of the layer, of shape `(..., units)`.
            classes: integers of shape `(...)`.

        Returns:
            Logarithms of shape `(...)`, in float32 or better. Under XLA and on other
            backends than TensorFlow it is NaN for a class that does not exist.

        Raises:
            ValueError: for a class that does not exist; in a `tf.function` it is an
                `InvalidArgumentError` of TensorFlow.
        """
        shape = ops.shape(inputs)[:-1]
        inputs = ops.reshape(self._cast(inputs), (-1, inputs.shape[-1]))
        classes = ops.reshape(ops.cast(classes, "int32"), (-1,))
        classes = checked_classes(classes, self.n_classes)
        cluster = look_up(self.levels.cluster_of, classes)
        position = look_up(self.levels.position_of, classes)
        of_cluster = _pick(self.cluster_log_probabilities(inputs), cluster)

        blocks = in_blocks(cluster, len(self.levels.sizes))
        logits = ops.einsum(
            "bnu,bwu->bnw",
            ops.take(inputs, blocks.examples, axis=0),
            self._cast(blocks.rows(self.kernel)),
        )
        logits = logits + self._cast(blocks.rows(self.bias))[:, None]
        filled = self._filled()
        if filled is not None:
            filled = ops.take(filled, blocks.clusters, axis=0)[:, None]
        within = log_softmax(logits, filled)
        within = _pick(within, ops.take(position, blocks.examples))
        within = ops.take(ops.reshape(within, (-1,)), blocks.places)
        known = (classes >= 0) & (classes < self.n_classes)
        return ops.reshape(ops.where(known, of_cluster + within, np.nan), shape)

    def cluster_log_probabilities(self, inputs: Tensor) -> Tensor:
        """The logarithm of the probability of each cluster.

        Args:
            inputs: the inputs of the layer, of shape `(..., units)`.

        Returns:
            Logarithms of shape `(..., clusters)`, in float32 or better.
        """
        logits = ops.matmul(self._cast(inputs), self._cast(self.cluster_kernel))
        return log_softmax(logits + self._cast(self.cluster_bias))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs, with a probability for each class at its end."""
        return (*input_shape[:-1], self.n_classes)

    def compute_output_spec(
        self, inputs: Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """The shape and dtype of what `call` returns."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, self._result_dtype())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {
            "n_classes": self.n_classes,
            "clusters": self.clusters,
            "frequencies": self.frequencies,
            "probabilities_in_training": self.probabilities_in_training,
        }
        return {**super().get_config(), **own}

    def _cast(self, x: Tensor) -> Tensor:
        return ops.cast(x, self.compute_dtype)

    def _result_dtype(self) -> str:
        return at_least_float32(self.compute_dtype)

    def _filled(self) -> np.ndarray | None:
        """Which places are filled, if not all."""
        sizes = self.levels.sizes
        return self.levels.filled() if sizes.min() < sizes.max() else None


def _plain(values: Any) -> Any:
    """Numbers that JSON can represent."""
    return None if values is None else np.asarray(values).tolist()


def _pick(values: Tensor, indices: Tensor) -> Tensor:
    """One of the numbers along the last axis."""
    picked = ops.take_along_axis(values, ops.expand_dims(indices, -1), axis=-1)
    return ops.squeeze(picked, -1)
