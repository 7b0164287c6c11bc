"""A wrapper that keeps a layer's dropout and noise on at inference."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.layers._noise import refuse_vectorized
from keras_dnn.layers._stochastic import stochastic, switched_on


@keras.saving.register_keras_serializable(package="keras_dnn")
class MonteCarlo(keras.layers.Wrapper):
    """Keeps a random layer random at inference.

    It wraps any layer that drops or makes noise, or that has such layers inside it:
    `LSTM(..., dropout=0.2)`, `MultiHeadAttention(..., dropout=0.1)`, `GaussianNoise`,
    `RReLU`, a layer of your own that draws from a `keras.random.SeedGenerator`, a block
    or a model with such layers in it. Only these are switched on; batch
    normalisation and everything else in it stay in inference mode, except in training.
    It is called exactly as the layer itself is.

    Args:
        layer: the layer.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `layer` is not a layer, or, in its first call, nothing in it is
            random.

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
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"layer must be a Keras layer. Received: layer={layer!r}")
        # Keras reads the names of arguments, and which of them take masks, from here.
        object.__setattr__(self, "call", _with_signature_of(layer.call, self.call))
        kwargs.setdefault("dtype", layer.dtype_policy)
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking
        self._found_random = False

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Leaves building the layer to the first call, which knows all inputs."""
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Tensor:
        """Calls the layer, as it is called itself, with its dropout and noise on."""
        refuse_vectorized(self)
        if not self.layer.built:
            # Some layers create their dropout only when they are built.
            self.layer(*args, **kwargs)
        random = stochastic(self.layer)
        if not (random or self._found_random):
            raise ValueError(
                "layer must be random or hold layers that are: dropout with a rate "
                "above 0, or a layer with a keras.random.SeedGenerator. "
                f"Received: layer={self.layer.name!r}"
            )
        # Later a rate may be set to 0, which leaves the layer as it is at inference.
        self._found_random = True
        with switched_on(random):
            return self.layer(*args, **kwargs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask that the layer returns."""
        return self.layer.compute_mask(inputs, mask)


def _with_signature_of(
    model: Callable[..., Any], function: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    def call(*args: Any, **kwargs: Any) -> Tensor:
        return function(*args, **kwargs)

    call.__signature__ = inspect.signature(model)  # type: ignore[attr-defined]
    return call
