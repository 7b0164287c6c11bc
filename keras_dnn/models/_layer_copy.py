"""Copies of single layers and operations, with all that they hold."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Set
from typing import Any, Literal, TypeAlias, get_args

import keras

from keras_dnn._keras.graph import graph_of, hides_its_graph
from keras_dnn._keras.layers import sublayers, take_path
from keras_dnn._keras.object_copy import (
    OWN_WRAPPERS,
    ObjectCopies,
)
from keras_dnn._layer_kinds import TRANSPOSED

FloatDtype: TypeAlias = Literal[
    "float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"
]
"""Dtypes that can take each other's place; the policy of a quantised layer cannot."""

FLOATS = get_args(FloatDtype)


class LayerCopies:
    """Makes copies one by one; `finish` gives them their weights once they are built.

    A layer of Keras that has not been altered is created again from its config, with
    the functions that it was given, and is built by being called. Any other layer is
    copied as the object that it is.

    Args:
        dtype: of the copies; `None` for that of each original.
        models: copies a model with a graph that a layer holds.
        shared: ids of layers that several others hold, or that hold weights of others.

    Attributes:
        known: by id of each original, of layers inside others too, its copy.
    """

    def __init__(
        self,
        dtype: FloatDtype | None,
        models: Callable[[keras.Model], keras.Model],
        shared: Set[int] = frozenset(),
    ) -> None:
        self.dtype = dtype
        self.known: dict[int, Any] = {}
        self._models = models
        self._shared = shared
        self._objects = ObjectCopies(self.known, self._otherwise, dtype, FLOATS)
        self._initializers: list[tuple[Any, dict[str, Any]]] = []
        self._copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copy(self, old: Any) -> Any:
        """The copy of a layer or operation, which `finish` may have to complete."""
        if id(old) not in self.known:
            self.known[id(old)] = self._made(old)
        return self.known[id(old)]

    def whole_model(self, model: keras.Model) -> keras.Model:
        """The copy of a model of its own class."""
        if graph_of(model) is None and not hides_its_graph(model):
            copy: keras.Model = self.copy(model)
            return copy
        try:
            copy = self._from_config(model)
            if model.built:
                copy.build_from_config(model.get_build_config())
        except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
            raise ValueError(
                "model has a graph that its own call hides: it must be one that Keras "
                "can create again from its config (get_config and from_config). "
                f"Received: model={model!r}"
            ) from error
        self.known[id(model)] = copy
        return copy

    def without_weights(self, old: Any) -> Any:
        """A copy from the config."""
        new, initializers = with_zero_weights(old, self._with_dtype(config_of(old)))
        self._initializers.append((new, initializers))
        return new

    def _made(self, old: Any) -> Any:
        if not isinstance(old, keras.layers.Layer):
            return self.without_weights(old)
        if not self._is_told_by_config(old):
            try:
                return self._objects.copy(old)
            except Exception as error:
                raise ValueError(
                    f"The layer {old.name!r} cannot be copied ({error}). Give the "
                    f"class {type(old).__name__} attributes that can be copied. "
                    f"Received: {old!r}"
                ) from error
        return self._from_config(old)

    def _from_config(self, old: Any) -> Any:
        new = self.without_weights(old)
        self._copies.append((old, new))
        return new

    def _is_told_by_config(self, layer: keras.layers.Layer) -> bool:
        """Whether the config, with functions in their places, tells all of a layer."""
        parts = list(sublayers(layer))
        return not any(
            id(part) in self._shared
            or not is_made_from_config(part)
            or (len(parts) > 1 and own_functions(part))
            for part in parts
        )

    def _otherwise(self, old: keras.layers.Layer) -> keras.layers.Layer | None:
        """A copy of a layer inside another whose attributes are not all there is."""
        if graph_of(old) is not None:
            return self._models(old)
        if hides_its_graph(old):
            return self._from_config(old)
        if hasattr(old, "save_assets") and is_made_from_config(old):
            new = self._from_config(old)
            new.build_from_config(old.get_build_config() or {})
            return new
        return None

    def finish(self) -> None:
        """Gives the copies, which are built by now, what the originals hold."""
        for old, new in self._copies:
            parts = zip(sublayers(old), sublayers(new), strict=False)
            self.known.update({id(part): copy for part, copy in parts})
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
                take_path(target, source)
                if target.constraint is None:
                    target.constraint = source.constraint
                if target.regularizer is None:
                    target.regularizer = source.regularizer
                self.known[id(source)] = target
            for source, target in zip(sublayers(old), sublayers(new), strict=True):
                _copy_the_rest(source, target)
        self._objects.finish()
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


def is_made_from_config(layer: keras.layers.Layer) -> bool:
    """Whether a layer is one of Keras or of this package, as its config made it."""
    return (
        type(layer).__module__.startswith(("keras.", "keras_dnn."))
        and not isinstance(layer, keras.Model | keras.layers.Lambda)
        and layer.quantization_mode is None
        and not getattr(layer, "lora_enabled", False)
    )


def own_functions(layer: keras.layers.Layer) -> dict[str, Any]:
    """What a layer was given as functions that are not Keras's own, by attribute."""
    return {
        name: value
        for name, value in vars(layer).items()
        if name not in OWN_WRAPPERS
        and callable(value)
        and not isinstance(value, keras.layers.Layer)
        and not _module_of(value).startswith(("keras.", "keras_dnn."))
    }


def config_of(layer: Any) -> dict[str, Any]:
    """A layer's config, with the functions that it was given in place of names.

    No config holds a function that is not registered.
    """
    own = own_functions(layer) if isinstance(layer, keras.layers.Layer) else {}
    if not own:
        return _whole_config(layer)
    view = object.__new__(type(layer))
    placeholders = dict.fromkeys(own, keras.activations.linear)
    vars(view).update({**vars(layer), **placeholders})
    config = _whole_config(view)
    return {**config, **{name.lstrip("_"): value for name, value in own.items()}}


def _whole_config(layer: Any) -> dict[str, Any]:
    config: dict[str, Any] = layer.get_config()
    if isinstance(layer, TRANSPOSED):
        # Keras before 3.15 leaves it out.
        config = {"output_padding": layer.output_padding, **config}
    return config


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
    config = {**config, **dict.fromkeys(names, "zeros")}
    # TextVectorization's from_config, for one, takes no functions.
    has_functions = isinstance(old, keras.layers.Layer) and own_functions(old)
    new = type(old)(**config) if has_functions else type(old).from_config(config)
    return new, {name: getattr(old, name) for name in names}


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


def _module_of(function: Any) -> str:
    """Where a function, or the class of an object that is called like one, is from."""
    is_function = hasattr(function, "__name__")
    module = function.__module__ if is_function else type(function).__module__
    return f"{module}."
