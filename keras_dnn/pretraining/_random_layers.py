"""Layers that change their inputs at random: anew at each step and on each replica."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

STRIDE = 100_003
"""Between the seeds of two replicas."""

HELD_SEED = 1
"""Outside training: a loss on held data must not move with the draw."""


class ReplicaSeed(keras.random.SeedGenerator):
    """Keras's generator, which alone gives all replicas the same numbers."""

    def next(self, ordered: bool = True) -> Tensor:
        seed = super().next(ordered)
        replica = tf.distribute.get_replica_context() if tf else None
        if replica is None:
            return seed
        number = tf.cast(replica.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([number * STRIDE, tf.zeros_like(number)])


class RandomLayer(keras.layers.Layer):
    """Base of the layers with a draw.

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
    """Adds normal noise while training.

    Args:
        stddev: its standard deviation.
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
