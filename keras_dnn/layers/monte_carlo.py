"""A wrapper that keeps a layer's dropout and noise on at inference."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import Shape, Tensor
from keras_dnn.layers._noise import refuse_vectorized
from keras_dnn.layers._stochastic import stochastic, switched_on


@keras.saving.register_keras_serializable(package="keras_dnn")
class MonteCarlo(keras.layers.Wrapper):
    """Keeps a random layer random at inference.

    It wraps any layer that drops or makes noise, or that has such layers inside it:
    `LSTM(..., dropout=0.2)`, `MultiHeadAttention(..., dropout=0.1)`, `GaussianNoise`,
    `RReLU`, a block or a model of your own. Only these are switched on; batch
    normalisation and everything else in it stay in inference mode, except in training.

    Args:
        layer: the layer.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if nothing in the layer is random, in its first call.

    Example:
        >>> import keras
        >>> from keras_dnn.layers import MonteCarlo
        >>> layer = MonteCarlo(keras.layers.GaussianNoise(1.0, seed=1))
        >>> bool(keras.ops.all(layer(keras.ops.zeros((2, 3))) != 0))
        True

    Reference:
        Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation: representing
        model uncertainty in deep learning", 2016.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Shape | None = None) -> None:
        """Leaves building the layer to the first call, which knows all inputs."""
        self.built = True

    def call(
        self,
        inputs: Any,
        *args: Any,
        training: bool | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Calls the layer with its dropout and noise switched on."""
        refuse_vectorized(self)
        if not self.layer.built:
            # Some layers create their dropout only when they are built.
            self.layer(inputs, *args, **kwargs)
        random = stochastic(self.layer)
        if not random:
            raise ValueError(
                "layer must be random or hold layers that are, such as dropout with a "
                f"rate above 0. Received: layer={self.layer.name!r}"
            )
        with switched_on(random):
            return self.layer(inputs, *args, training=training, **kwargs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask that the layer returns."""
        return self.layer.compute_mask(inputs, mask)
