"""Random quarter turns of images and predictions of them."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.pretraining._random_layers import RandomLayer

TURNS = 4


@keras.saving.register_keras_serializable(package="keras_dnn")
class RandomTurns(RandomLayer):
    """Turns each square image by 0 to 3 quarters and returns that number too.

    A quarter turn is that of `numpy.rot90`: counterclockwise. In training the numbers
    are independent draws. Otherwise image `i` of a batch is turned by `i mod 4`
    quarters.
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

        def turned_by(one: int, other: int) -> Tensor:
            is_one = ops.logical_or(turns == one, turns == other)
            return ops.reshape(is_one, (-1, 1, 1, 1))

        turned = inputs
        # One quarter: transpose, then reverse the rows. Two: reverse both axes. Three:
        # transpose, then reverse the columns.
        transposed = ops.transpose(turned, (0, 2, 1, 3))
        turned = ops.where(turned_by(1, 3), transposed, turned)
        turned = ops.where(turned_by(1, 2), ops.flip(turned, axis=1), turned)
        turned = ops.where(turned_by(2, 3), ops.flip(turned, axis=2), turned)
        return turned, turns

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """The shape of the inputs and an integer for each image."""
        turns = keras.KerasTensor(inputs.shape[:1], dtype="int32")
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype), turns


@keras.saving.register_keras_serializable(package="keras_dnn")
class RightFirst(keras.layers.Layer):
    """Rotates the columns of predictions so that the right turn comes first.

    Column `k` of the result is the prediction of `k` quarters more than the right turn.
    """

    def call(self, predictions: Tensor, turns: Tensor) -> Tensor:
        columns = keras.ops.arange(TURNS, dtype="int32")
        order = (keras.ops.expand_dims(turns, -1) + columns) % TURNS
        return keras.ops.take_along_axis(predictions, order, axis=-1)

    def compute_output_shape(self, predictions_shape: Any, turns_shape: Any) -> Any:
        """The shape of the predictions."""
        return predictions_shape
