"""Copies of single layers and operations, with all that they hold."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

import keras

from keras_dnn._keras.layers import lambda_output_shape, sublayers

FloatDtype: TypeAlias = Literal[
    "float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"
]
"""Dtypes that can take each other's place; the policy of a quantised layer cannot."""

FLOATS = get_args(FloatDtype)


class LayerCopies:
    """Makes copies one by one; `finish` gives them their weights once they are built.

    Args:
        dtype: of the copies; `None` for that of each original.
    """

    def __init__(self, dtype: FloatDtype | None) -> None:
        self.dtype = dtype
        self._initializers: list[tuple[Any, dict[str, Any]]] = []
        self._copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copy(self, old: Any) -> Any:
        """A copy from the config, which `finish` gives its weights if it is a layer."""
        new = self.without_weights(old)
        if isinstance(old, keras.layers.Layer):
            self._copies.append((old, new))
        return new

    def without_weights(self, old: Any) -> Any:
        """A copy from the config."""
        config = self._with_dtype(old.get_config())
        if isinstance(old, keras.layers.Lambda):
            # Its function is at hand; a config holds the bytes of its code only.
            names = ("name", "dtype", "trainable")
            return keras.layers.Lambda(
                old.function,
                output_shape=lambda_output_shape(old),
                mask=old.mask,
                arguments=old.arguments,
                **{name: config[name] for name in names},
            )
        new, initializers = with_zero_weights(old, config)
        self._initializers.append((new, initializers))
        return new

    def finish(self) -> None:
        """Gives the copies, which are built by now, what the originals hold."""
        for old, new in self._copies:
            if len(old.variables) != len(new.variables):
                raise ValueError(
                    f"The layer {old.name!r} must create the same weights when it is "
                    f"built again. Received: {len(old.variables)} in the model, "
                    f"{len(new.variables)} in the copy"
                )
            for source, target in zip(old.variables, new.variables, strict=True):
                if tuple(source.shape) != tuple(target.shape):
                    raise ValueError(
                        f"The layer {old.name!r} must get inputs of the shape that it "
                        "was built for, or be replaced too. Received: weights of shape "
                        f"{tuple(source.shape)}, where its new inputs need "
                        f"{tuple(target.shape)}"
                    )
                target.assign(keras.ops.convert_to_numpy(source))
            for source, target in zip(sublayers(old), sublayers(new), strict=True):
                _copy_the_rest(source, target)
        for layer, initializers in self._initializers:
            for name, initializer in initializers.items():
                setattr(layer, name, initializer)

    def _with_dtype(self, config: Any) -> Any:
        """The config with the float dtypes of this and all inner layers changed."""
        if self.dtype is None:
            return config
        if isinstance(config, list | tuple):
            return [self._with_dtype(entry) for entry in config]
        if not isinstance(config, dict):
            return config
        return {
            key: self.dtype
            if key == "dtype" and _policy_name(value) in FLOATS
            else self._with_dtype(value)
            for key, value in config.items()
        }


def with_zero_weights(old: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A layer of this kind and config, whose weights will be zero when it is built.

    What it would draw is overwritten anyway, and drawing it is a third of the work. A
    layer that is not Keras's own draws: it may use its initializer in any way.

    Returns:
        The layer, and by attribute the initializers to give it once it is built.
    """
    is_of_keras = type(old).__module__.startswith("keras.")
    names = [
        key
        for key in config
        if is_of_keras and key.endswith("_initializer") and key in vars(old)
    ]
    new = type(old).from_config({**config, **dict.fromkeys(names, "zeros")})
    return new, {name: keras.initializers.get(config[name]) for name in names}


@contextlib.contextmanager
def classes_of(model: keras.Model) -> Iterator[None]:
    """Lets the configs of wrappers name the user's classes, registered or not."""
    kinds = {type(part) for part in sublayers(model)}
    own = {k.__name__: k for k in kinds if not k.__module__.startswith("keras.")}
    with keras.saving.custom_object_scope(own):
        yield


@contextlib.contextmanager
def default_dtype(dtype: FloatDtype | None) -> Iterator[None]:
    """Gives layers that other layers create this dtype, where they name none."""
    before = keras.config.dtype_policy()
    try:
        if dtype is not None:
            keras.config.set_dtype_policy(dtype)
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _copy_the_rest(old: Any, new: Any) -> None:
    """What a layer works with besides its variables and its config."""
    if getattr(old, "lora_enabled", False):
        # `Dense.build` passes on the rank only.
        new.lora_alpha = old.lora_alpha
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    if isinstance(new, keras.layers.Normalization):
        # It reads its weights only once.
        new.finalize_state()


def _policy_name(dtype: Any) -> Any:
    """The name of a dtype or of a dtype policy's config."""
    return dtype["config"].get("name") if isinstance(dtype, dict) else dtype
