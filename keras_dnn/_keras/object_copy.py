"""Copies of layers as the objects that they are, for which no config is needed.

A config describes a layer as its class can create it again. It cannot hold functions
that are not registered, what `quantize` and `enable_lora` have changed, or that two
layers hold the same third one; and the config of a layer of one's own may lack anything
else. All of this is in the object itself.
"""

from __future__ import annotations

import functools
import types
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from keras.src.utils.tracking import Tracker

from keras_dnn._keras.layers import take_path
from keras_dnn._keras.losses import loss_in
from keras_dnn._tensorflow import tf

Otherwise: TypeAlias = Callable[[Any], Any]

OF_THE_PLACE = {
    "_inbound_nodes": list,
    "_outbound_nodes": list,
    "_losses": list,
    "_loss_ids": set,
    "_losses_override": list,
}
"""What belongs to the calls of a layer, with what a copy begins with."""

OF_TRAINING = ("optimizer", "history", "_compile_config", "_compiled_trainable_state")
UNCOMPILED = {
    "compiled": False,
    "loss": None,
    "train_function": None,
    "test_function": None,
    "predict_function": None,
    "_compile_loss": None,
    "_compile_metrics": None,
    "_loss_tracker": None,
}
"""What `compile` and `fit` write on a model, with the values of a new model."""

OWN_WRAPPERS = ("build", "quantize")
"""Functions that Keras makes for each layer and that hold the layer."""

LIBRARIES = ("keras.", "tensorflow.", "numpy.", "torch.", "jax.", "builtins.")


class ObjectCopies:
    """Copies layers with their weights, states and all layers and objects in them.

    What is reached twice is copied once. Functions, initializers, regularizers and
    objects that hold neither layers nor weights are not copied but used by both.

    Args:
        known: copies by id of what was copied already, to which these are added.
        otherwise: copies what has to be copied in another way; returns `None` for
            anything else.
        dtype: the name of the dtype policy for layers whose policy is in `floats`; by
            default their own.
        floats: names of policies that can take each other's place.
    """

    def __init__(
        self,
        known: dict[int, Any],
        otherwise: Otherwise,
        dtype: str | None = None,
        floats: tuple[str, ...] = (),
    ) -> None:
        self.known = known
        self.otherwise = otherwise
        self.policy = None if dtype is None else keras.dtype_policies.get(dtype)
        self.floats = floats
        self._dtypes: Mapping[str, str] = {}
        self._alive: list[Any] = []
        self._layers: list[keras.layers.Layer] = []

    def copy(self, old: Any) -> Any:
        """The copy of a layer, or of anything that layers hold."""
        if id(old) in self.known:
            return self.known[id(old)]
        new = self._made(old)
        if new is not old:
            self.known[id(old)] = new
            # An id stands for one object only as long as that lives.
            self._alive.append(old)
        return new

    def finish(self) -> None:
        """Lets functions see the copies of weights that were not there before."""
        for layer in self._layers:
            for name, value in vars(layer).items():
                if isinstance(value, types.FunctionType) and name not in OWN_WRAPPERS:
                    vars(layer)[name] = self._function(value)

    def _made(self, old: Any) -> Any:
        if isinstance(old, keras.Variable):
            return self._variable(old)
        new = self.otherwise(old) if isinstance(old, keras.layers.Layer) else None
        if new is not None:
            return new
        if isinstance(old, keras.layers.Layer):
            return self._layer(old)
        if isinstance(old, keras.optimizers.Optimizer):
            return type(old).from_config(old.get_config())
        if isinstance(old, list | tuple | dict | set):
            return self._container(old)
        if isinstance(old, types.MethodType):
            owner = self.copy(old.__self__)
            same = owner is old.__self__
            return old if same else types.MethodType(old.__func__, owner)
        if isinstance(old, functools.partial):
            return self._partial(old)
        if isinstance(old, types.FunctionType):
            return self._function(old)
        if isinstance(old, keras.losses.Loss) and self.policy is not None:
            return loss_in(old, self.policy.compute_dtype)
        if isinstance(old, keras.DTypePolicy):
            return self._changed_policy(old) or old
        if tf is not None and isinstance(old, tf.Variable):
            return tf.Variable(old, trainable=old.trainable, name=old.name[:-2])
        if tf is not None and isinstance(old, tf.random.Generator):
            return tf.random.Generator.from_state(old.state.numpy(), old.algorithm)
        if _is_tensor(old):
            return self._cast(old)
        if isinstance(old, Tracker):
            return self._bookkeeping(old)
        return self._object(old) if _is_composite(old) else old

    def _layer(self, old: keras.layers.Layer) -> keras.layers.Layer:
        # Not the class's own __new__, which may want arguments.
        new: keras.layers.Layer = keras.layers.Layer.__new__(type(old))
        self.known[id(old)] = new
        self._layers.append(new)
        before, self._dtypes = self._dtypes, self._changed_dtypes(old.dtype_policy)
        is_model = isinstance(old, keras.Model)
        for name, value in vars(old).items():
            if name in OWN_WRAPPERS and name in vars(new):
                continue
            if name in OF_THE_PLACE:
                vars(new)[name] = OF_THE_PLACE[name]()
            elif is_model and name in UNCOMPILED:
                vars(new)[name] = UNCOMPILED[name]
            elif not (is_model and name in OF_TRAINING):
                vars(new)[name] = self.copy(value)
        self._dtypes = before
        return new

    def _object(self, old: Any) -> Any:
        new = object.__new__(type(old))
        self.known[id(old)] = new
        vars(new).update({name: self.copy(value) for name, value in vars(old).items()})
        return new

    def _bookkeeping(self, old: Tracker) -> Tracker:
        new: Tracker = self._object(old)
        # It finds what it holds by id.
        new.stored_ids = {
            name: set(map(id, held)) for name, (_, held) in new.config.items()
        }
        return new

    def _container(self, old: Any) -> Any:
        kind: Any = type(old)
        if isinstance(old, tuple):
            items = [self.copy(x) for x in old]
            if all(a is b for a, b in zip(items, old, strict=True)):
                return old
            return kind(*items) if hasattr(old, "_fields") else kind(items)
        if hasattr(old, "__wrapped__"):
            # TensorFlow's proxy around a dict that a model holds.
            return kind(self.copy(old.__wrapped__))
        new = kind.__new__(kind)
        self.known[id(old)] = new
        if isinstance(old, defaultdict):
            new.default_factory = old.default_factory
        # Keras's lists and dicts track what the methods of their own are given.
        if isinstance(old, list):
            list.extend(new, [self.copy(x) for x in old])
        elif isinstance(old, dict):
            dict.update(new, {key: self.copy(x) for key, x in old.items()})
        else:
            set.update(new, {self.copy(x) for x in old})
        for name, value in getattr(old, "__dict__", {}).items():
            vars(new)[name] = self.copy(value)
        return new

    def _variable(self, old: keras.Variable) -> keras.Variable:
        dtype = self._dtypes.get(str(old.dtype), old.dtype)
        new: keras.Variable = type(old)(
            keras.ops.convert_to_numpy(old),
            dtype=dtype,
            trainable=old.trainable,
            autocast=old._autocast,
            aggregation=old.aggregation,
            name=old.name,
        )
        new.regularizer, new.constraint = old.regularizer, old.constraint
        new.overwrite_with_gradient = old.overwrite_with_gradient
        take_path(new, old)
        self.known[id(old.value)] = new.value
        self._alive.append(old)
        return new

    def _partial(self, old: functools.partial[Any]) -> Any:
        function, args = self.copy(old.func), self.copy(old.args)
        keywords = {name: self.copy(x) for name, x in old.keywords.items()}
        same = function is old.func and args is old.args
        if same and all(keywords[name] is x for name, x in old.keywords.items()):
            return old
        return functools.partial(function, *args, **keywords)

    def _function(self, old: types.FunctionType) -> Any:
        """The function itself, or one on the copies of layers that it encloses."""
        cells = old.__closure__ or ()
        if not any(_is_copied(cell, self.known) for cell in cells):
            return old
        new = types.FunctionType(
            old.__code__,
            old.__globals__,
            old.__name__,
            old.__defaults__,
            tuple(
                types.CellType(self.known[id(cell.cell_contents)])
                if _is_copied(cell, self.known)
                else cell
                for cell in cells
            ),
        )
        new.__kwdefaults__ = old.__kwdefaults__
        return functools.update_wrapper(new, old)

    def _changed_policy(self, policy: Any) -> Any:
        is_float = getattr(policy, "name", None) in self.floats
        return self.policy if is_float else None

    def _changed_dtypes(self, policy: Any) -> dict[str, str]:
        new = None if self.policy is None else self._changed_policy(policy)
        if new is None:
            return {}
        return {
            policy.compute_dtype: new.compute_dtype,
            policy.variable_dtype: new.variable_dtype,
        }

    def _cast(self, old: Any) -> Any:
        dtype = self._dtypes.get(keras.backend.standardize_dtype(old.dtype))
        if dtype is None:
            return old
        return old.astype(dtype) if _is_array(old) else keras.ops.cast(old, dtype)


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def _is_tensor(x: Any) -> bool:
    is_symbolic = isinstance(x, keras.KerasTensor)
    if _is_array(x):
        return bool(x.dtype.kind == "f")
    return not is_symbolic and keras.ops.is_tensor(x) and hasattr(x, "dtype")


def _is_copied(cell: types.CellType, known: Mapping[int, Any]) -> bool:
    """Whether a variable of an enclosing function holds something that was copied."""
    try:
        return id(cell.cell_contents) in known
    except ValueError:
        # It is still empty.
        return False


def _is_composite(x: Any) -> bool:
    """Whether an object other than a layer must be copied with what it holds."""
    if isinstance(x, keras.metrics.Metric | keras.random.SeedGenerator):
        return True
    if isinstance(x, type | types.ModuleType) or not hasattr(x, "__dict__"):
        return False
    is_of_library = f"{type(x).__module__}.".startswith(LIBRARIES)
    if is_of_library and type(x).__name__ != "AutoTrackable":
        return False
    return any(_holds_parts(value) for value in list(vars(x).values()))


def _holds_parts(value: Any) -> bool:
    if isinstance(value, keras.layers.Layer | keras.Variable):
        return True
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list | tuple) and any(map(_holds_parts, value))
