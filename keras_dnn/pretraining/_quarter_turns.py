"""Quarter turns, drawn at random, and guesses of them."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.pretraining._random_layers import RandomLayer

TURNS = 4


@keras.saving.register_keras_serializable(package="keras_dnn")
class RandomTurns(RandomLayer):
    """Turns each square image by 0, 1, 2 or 3 quarters, and says by how many.

    A quarter is that of `numpy.rot90`: against the clock. While training the turns are
    independent draws. Otherwise they go round: image `i` of a batch is turned by
    `i mod 4` quarters.
    """

    def call(
        self, inputs: Tensor, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        ops = keras.ops
        batch = ops.shape(inputs)[0]
        if training:
            turns = keras.random.randint(
                (batch,), 0, TURNS, dtype="int32", seed=self.seed_generator
            )
        else:
            turns = ops.arange(batch, dtype="int32") % TURNS

        def among(one: int, other: int) -> Tensor:
            found = ops.logical_or(turns == one, turns == other)
            return ops.reshape(found, (-1, 1, 1, 1))

        turned = inputs
        # One quarter is transposing, then reversing the rows; two reverse both axes;
        # three are transposing, then reversing the columns.
        transposed = ops.transpose(turned, (0, 2, 1, 3))
        turned = ops.where(among(1, 3), transposed, turned)
        turned = ops.where(among(1, 2), ops.flip(turned, axis=1), turned)
        turned = ops.where(among(2, 3), ops.flip(turned, axis=2), turned)
        return turned, turns

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """The shape of the inputs, and a number for each."""
        turns = keras.KerasTensor(inputs.shape[:1], dtype="int32")
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype), turns


@keras.saving.register_keras_serializable(package="keras_dnn")
class RightFirst(keras.layers.Layer):
    """Moves the columns of guesses round so that that of the right turn is the first.

    Column `k` of the result is the guess of `k` quarters more than the right turn.
    """

    def call(self, guesses: Tensor, turns: Tensor) -> Tensor:
        columns = keras.ops.arange(TURNS, dtype="int32")
        order = (keras.ops.expand_dims(turns, -1) + columns) % TURNS
        return keras.ops.take_along_axis(guesses, order, axis=-1)

    def compute_output_shape(self, guesses_shape: Any, turns_shape: Any) -> Any:
        """The shape of the guesses."""
        return guesses_shape
