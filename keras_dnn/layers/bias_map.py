"""A bias for each position, not only for each channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_dnn import _arguments
from keras_dnn._typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_dnn")
class BiasMap(keras.layers.Layer):
    r"""Adds a weight to each position of its input, then applies an activation.

    $$
    y = f(x + b)
    $$

    `fold_batch_norm` adds one after a convolution with zero padding when it folds the
    batch norm before it: at the border, where the kernel covers zeros, the batch norm's
    shift is missing, so the bias there differs from that of the interior.

    Args:
        shape: of the bias, without the batch, such as `(height, width, channels)`; it
            is the same everywhere along an axis of length 1.
        activation: as `keras.layers.Dense` takes it.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `shape` does not consist of positive integers.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.layers import BiasMap
        >>> layer = BiasMap((3, 1), activation="relu")
        >>> layer.build((None, 3, 2))
        >>> _ = layer.bias.assign([[-1.0], [0.0], [1.0]])
        >>> y = layer(np.zeros((1, 3, 2)))
        >>> keras.ops.convert_to_numpy(y).tolist()
        [[[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]]

    Reference:
        E. Yvinec, A. Dapogny and K. Bailly, "To fold or not to fold: a necessary and
        sufficient condition on batch-normalization layers folding", 2022.
    """

    def __init__(
        self,
        shape: Sequence[int],
        activation: str | Callable[[Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        lengths = _arguments.several("shape", shape)
        self.shape = tuple(_arguments.count("shape", n) for n in lengths)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        self.bias = self.add_weight(name="bias", shape=self.shape, initializer="zeros")

    def call(self, inputs: Tensor) -> Tensor:
        return self.activation(keras.ops.add(inputs, self.bias))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "activation": keras.activations.serialize(self.activation),
        }
