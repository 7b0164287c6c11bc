"""Which places of an example are hidden: so many patches of a grid, drawn at random."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.pretraining._random_layers import HELD_SEED, RandomLayer


@keras.saving.register_keras_serializable(package="keras_dnn")
class RandomMask(RandomLayer):
    """Gives True where an input is to be hidden, for all channels alike.

    Args:
        share: of the patches.
        patch: side of the patches.
        **kwargs: the arguments of `RandomLayer`.
    """

    def __init__(self, share: float, patch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share
        self.patch = patch

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        places = self._places(inputs.shape)
        grid = [math.ceil(size / self.patch) for size in places]
        patches = math.prod(grid)
        batch = keras.ops.shape(inputs)[0]
        drawn = keras.random.uniform(
            (batch, patches),
            dtype="float32",
            seed=self.seed_generator if training else HELD_SEED,
        )
        # The rank of a patch among those of its example: so many come first.
        rank = keras.ops.argsort(keras.ops.argsort(drawn, axis=-1), axis=-1)
        mask = rank < max(1, round(self.share * patches))
        mask = keras.ops.reshape(mask, (-1, *grid))
        for axis, size in enumerate(places, start=1):
            mask = keras.ops.repeat(mask, self.patch, axis=axis)
            mask = keras.ops.take(mask, keras.ops.arange(size), axis=axis)
        if len(inputs.shape) > 2:
            mask = keras.ops.expand_dims(mask, -1)
        return keras.ops.broadcast_to(mask, keras.ops.shape(inputs))

    def _places(self, shape: Any) -> tuple[int, ...]:
        """The axes between batch and channels; of plain features, the features."""
        places = tuple(shape[1:]) if len(shape) == 2 else tuple(shape[1:-1])
        if not places or None in places:
            raise ValueError(
                "masking needs an encoder of inputs of a known shape. Received: "
                f"inputs of shape {tuple(shape)}"
            )
        return places

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """A boolean of the shape of the inputs."""
        self._places(inputs.shape)
        return keras.KerasTensor(inputs.shape, dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"share": self.share, "patch": self.patch}
        return {**super().get_config(), **own}
