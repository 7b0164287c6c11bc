"""Layers that change their inputs at random: new draws at each step and replica."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._replica_seeds import seed_of_replica
from keras_dnn._typing import Tensor

FIXED_SEED = 1
"""Seed outside training, so that a validation loss does not depend on the draw."""


class ReplicaSeed(keras.random.SeedGenerator):
    """A seed generator with different numbers on each replica, unlike Keras's."""

    def next(self, ordered: bool = True) -> Tensor:
        return seed_of_replica(super().next(ordered))


class RandomLayer(keras.layers.Layer):
    """Base class of the layers that draw random numbers.

    Args:
        seed: integer seed.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = ReplicaSeed(seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_dnn")
class Noise(RandomLayer):
    """Adds normal noise during training.

    Args:
        stddev: standard deviation of the noise.
        **kwargs: the arguments of `RandomLayer`.
    """

    def __init__(self, stddev: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = stddev

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if not training:
            return inputs
        return inputs + keras.random.normal(
            keras.ops.shape(inputs),
            stddev=self.stddev,
            dtype=inputs.dtype,
            seed=self.seed_generator,
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stddev": self.stddev}
