"""Masks that hide a fixed number of patches of each example, drawn at random."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_dnn._typing import Tensor
from keras_dnn.pretraining._random_layers import FIXED_SEED, RandomLayer


@keras.saving.register_keras_serializable(package="keras_dnn")
class RandomMask(RandomLayer):
    """Returns True where an input is to be hidden, the same for all channels.

    Args:
        mask_ratio: fraction of the patches to hide.
        patch: side of the patches.
        **kwargs: the arguments of `RandomLayer`.
    """

    def __init__(self, mask_ratio: float, patch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_ratio = mask_ratio
        self.patch = patch

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        sizes = self._masked_axes(inputs.shape)
        grid = [math.ceil(size / self.patch) for size in sizes]
        patches = math.prod(grid)
        batch = keras.ops.shape(inputs)[0]
        drawn = keras.random.uniform(
            (batch, patches),
            dtype="float32",
            seed=self.seed_generator if training else FIXED_SEED,
        )
        # The rank of a patch among those of its example: the first ones are hidden.
        rank = keras.ops.argsort(keras.ops.argsort(drawn, axis=-1), axis=-1)
        mask = rank < max(1, round(self.mask_ratio * patches))
        mask = keras.ops.reshape(mask, (-1, *grid))
        for axis, size in enumerate(sizes, start=1):
            mask = keras.ops.repeat(mask, self.patch, axis=axis)
            mask = keras.ops.take(mask, keras.ops.arange(size), axis=axis)
        if len(inputs.shape) > 2:
            mask = keras.ops.expand_dims(mask, -1)
        return keras.ops.broadcast_to(mask, keras.ops.shape(inputs))

    def _masked_axes(self, shape: Any) -> tuple[int, ...]:
        """The sizes of the axes between batch and channels, or of the feature axis."""
        sizes = tuple(shape[1:]) if len(shape) == 2 else tuple(shape[1:-1])
        if not sizes or None in sizes:
            raise ValueError(
                "masking needs an encoder with inputs of a known shape, as from "
                "keras.Input((steps, channels)); only the number of channels may be "
                f"unknown. Received: inputs of shape {tuple(shape)}"
            )
        return sizes

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """Booleans in the shape of the inputs."""
        self._masked_axes(inputs.shape)
        return keras.KerasTensor(inputs.shape, dtype="bool")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"mask_ratio": self.mask_ratio, "patch": self.patch}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RandomMask:
        """The layer of a config."""
        # Files may have the ratio under this name.
        ratio = {"mask_ratio": config["share"]} if "share" in config else {}
        return cls(**{k: v for k, v in config.items() if k != "share"}, **ratio)
