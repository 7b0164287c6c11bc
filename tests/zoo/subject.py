"""A model of the zoo on which operations run, and what must not change in it."""

from __future__ import annotations

import contextlib
import functools
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state

from tests.zoo.model_case import Data, ZooModel

EPOCHS = 2
BATCH_SIZE = 16
"""Of arrays, where the zoo gives none: two steps an epoch."""

PARTS = (
    keras.layers.Layer,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.random.SeedGenerator,
)


class Subject:
    """A model of the zoo, its data, and what plain Keras makes of both.

    Operations that change a model take `fresh()`; all others share `model`.
    """

    def __init__(self, zoo: ZooModel) -> None:
        self.zoo = zoo

        self._found: dict[str, Any] = {}

    @property
    def data(self) -> Data:
        """The data, which a generator gives but once."""
        return self.zoo.data()

    @property
    def batched(self) -> bool:
        return is_batched(self.data.x)

    @property
    def batch_size(self) -> int | None:
        """The number of rows that the model takes at once, if it takes one only."""
        size: int | None = self.data.evaluate.get("batch_size")
        return size

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What operations share: made by the first of them."""
        if name not in self._found:
            self._found[name] = make()
        return self._found[name]

    @functools.cached_property
    def model(self) -> keras.Model:
        return self.fresh()

    def fresh(self) -> keras.Model:
        """The model, built: by a short `fit` where it learns its shapes there."""
        with own_randomness():
            model = self.zoo.make()
        if not is_built(model):
            if self.zoo.trains:
                self.fit(model, epochs=1)
            else:
                model.predict(self.data.inputs, **self.data.evaluate, verbose=0)
        return model

    def built(self) -> keras.Model:
        """A fresh model with its optimizer built, so that a step is traced once.

        Not where a `train_step` of its own decides what the optimizer trains.
        """
        model = self.fresh()
        if type(model).train_step is keras.Model.train_step:
            with own_randomness():
                model.optimizer.build(model.trainable_variables)
        return model

    def fit(
        self,
        model: keras.Model,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        epochs: int = EPOCHS,
    ) -> dict[str, list[float]]:
        """Trains for a few steps, always from the same random state."""
        arguments = {"epochs": epochs, "verbose": 0, **self.data.training}
        if not is_batched(arguments["x"]):
            arguments.setdefault("batch_size", BATCH_SIZE)
        with own_randomness(7), warnings.catch_warnings():
            # Keras, of a dataset whose length it does not know.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            return model.fit(callbacks=list(callbacks), **arguments).history

    @functools.cached_property
    def batch(self) -> tuple[Any, Any, Any]:
        """Inputs, targets and weights of a batch, as arrays."""
        data = self.data
        if is_batched(data.x):
            batch = keras.tree.map_structure(to_numpy, first_of(data.x))
            return keras.utils.unpack_x_y_sample_weight(batch)
        return tuple(
            None if part is None else self._rows(part)
            for part in (data.x, data.y, data.sample_weight)
        )

    @functools.cached_property
    def inputs(self) -> Any:
        """The inputs of a batch, as arrays; ragged and sparse ones are tensors."""
        inputs = self.data.inputs
        if not is_batched(inputs):
            return self._rows(inputs)
        inputs = keras.utils.unpack_x_y_sample_weight(first_of(inputs))[0]
        return keras.tree.map_structure(to_numpy, inputs)

    @functools.cached_property
    def graph_inputs(self) -> Any:
        """The inputs as the graph of the model takes them."""
        if not preprocesses(self.model):
            return self.inputs
        prepared = self.model.preprocessor(self.inputs)
        return keras.tree.map_structure(to_numpy, prepared)

    def _rows(self, arrays: Any) -> Any:
        """As many rows as the model takes at once."""
        size = self.batch_size
        return (
            arrays
            if size is None
            else keras.tree.map_structure(lambda array: array[:size], arrays)
        )

    def outputs(self, model: keras.Model, inputs: Any = None) -> list[np.ndarray]:
        """What `predict` gives for a batch; no state of the model moves."""
        inputs = self.inputs if inputs is None else inputs
        with own_randomness(), put_back(variables_in(model)):
            found = self._predicted(model, inputs)
        return [np.asarray(to_numpy(a)) for a in keras.tree.flatten(found)]

    def _predicted(self, model: keras.Model, inputs: Any) -> Any:
        if preprocesses(model):
            return model.predict(inputs, verbose=0)
        tensors = keras.tree.map_structure(to_tensor, inputs)
        if type(model).predict_step is not keras.Model.predict_step:
            return model.predict_step((tensors,))
        return model(tensors, training=False)

    @functools.cached_property
    def expected(self) -> list[np.ndarray]:
        """The outputs of the shared model."""
        return self.outputs(self.model)

    def assert_predicts_the_same(
        self, model: keras.Model, tolerance: float = 1e-6
    ) -> None:
        """The outputs of a model made from the shared one equal its outputs."""
        if not self.zoo.predicts or self.zoo.random_at_inference:
            return
        # A class with a constructor of its own is not copied.
        inputs = self.inputs if preprocesses(model) else self.graph_inputs
        assert_close(self.outputs(model, inputs), self.expected, tolerance)

    @contextlib.contextmanager
    def unchanged(self) -> Iterator[None]:
        """The shared model and the random state are as before, bit for bit."""
        before = state_of(self.model)
        randomness = random_state()
        yield
        changed = differences(before, state_of(self.model))
        assert not changed, f"changed: {', '.join(changed)}"
        names = ("Python", "NumPy", "NumPy", "Keras")
        moved = [
            name
            for name, a, b in zip(names, randomness, random_state(), strict=True)
            if a != b
        ]
        assert not moved, f"the random state of {' and '.join(moved)} has moved"


def assert_close(
    found: Iterable[np.ndarray], expected: Iterable[np.ndarray], tolerance: float
) -> None:
    """Equal to a fraction of the size of the expected numbers."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape, f"shape {one.shape}, expected {other.shape}"
        if other.dtype.kind not in "fc":
            np.testing.assert_array_equal(one, other)
            continue
        a, b = one.astype("float64"), other.astype("float64")
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        finite = np.isfinite(b)
        size = np.abs(b[finite]).max(initial=1e-3)
        worst = np.abs(a[finite] - b[finite]).max(initial=0.0)
        assert worst <= tolerance * size, f"off by {worst / size:.2g} of their size"


def precision_of(model: keras.Model) -> float:
    """The unit in the last place of the least precise layer."""
    units = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
    dtypes = {layer.compute_dtype for layer in layers_in(model)}
    return max(units.get(dtype, 2.0**-24) for dtype in dtypes)


def preprocesses(model: keras.Model) -> bool:
    """Whether the model's own `predict` takes other inputs than its graph."""
    return type(model).predict is not keras.Model.predict


def is_built(model: keras.Model) -> bool:
    """Whether all its layers have their weights; a trainer itself may have none."""
    inside = [layer for layer in layers_in(model) if layer is not model]
    known = getattr(model, "inputs", None) is not None
    return known or (bool(inside) and all(layer.built for layer in inside))


def is_batched(x: Any) -> bool:
    """Whether `fit` takes the data without a batch size."""
    return isinstance(x, tf.data.Dataset | keras.utils.PyDataset) or hasattr(
        x, "__next__"
    )


def first_of(batched: Any) -> Any:
    if isinstance(batched, keras.utils.PyDataset):
        return batched[0]
    return next(iter(batched))


def to_tensor(value: Any) -> Any:
    """The value as a tensor; ragged and sparse ones are tensors already."""
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def to_numpy(value: Any) -> Any:
    """The value as an array; ragged and sparse tensors stay."""
    kept = isinstance(value, tf.RaggedTensor | tf.SparseTensor)
    return value if kept or not hasattr(value, "numpy") else value.numpy()


def variables_in(root: Any) -> list[Any]:
    """All variables of a layer and what it holds: states and seeds too."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, keras.Variable | tf.Variable):
            found[id(item)] = item
        elif isinstance(item, PARTS):
            todo.extend(vars(item).values())
        elif isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list | tuple | set):
            todo.extend(item)
    return list(found.values())


def layers_in(root: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(root._flatten_layers())


def optimizers_of(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Those that the model keeps, under whatever names."""
    kept = (value for _, value in sorted(vars(model).items()))
    found = {id(v): v for v in kept if isinstance(v, keras.optimizers.Optimizer)}
    return list(found.values())


def state_of(model: keras.Model) -> dict[str, Any]:
    """Everything of a model that an operation may leave changed."""
    state: dict[str, Any] = {
        f"value of {getattr(v, 'path', v.name)} ({id(v)})": v.numpy().tobytes()
        for v in variables_in(model)
        if v.dtype != "string"
    }
    state |= {
        f"{layer.name}.trainable ({id(layer)})": layer.trainable
        for layer in layers_in(model)
    }
    return state | {
        "optimizers": list(map(id, optimizers_of(model))),
        "compiled": model.compiled,
        "stop_training": model.stop_training,
        "train_function": id(model.train_function),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What has changed; what has been built in the meantime may be new."""
    return [name for name, value in before.items() if after.get(name) != value]


@contextlib.contextmanager
def put_back(variables: Iterable[Any]) -> Iterator[None]:
    values = [(v, v.numpy()) for v in variables if v.dtype != "string"]
    yield
    for variable, value in values:
        variable.assign(value)


def random_state() -> tuple[Any, ...]:
    """The random states of Python, NumPy and Keras."""
    seed = global_state.get_global_attribute("global_seed_generator")
    numpy = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        numpy[1].tobytes(),
        numpy[2:],
        None if seed is None else seed.state.numpy().tobytes(),
    )


@contextlib.contextmanager
def own_randomness(seed: int = 0) -> Iterator[None]:
    """Draws from a seed, and puts the random states back."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    keras_seed = global_state.get_global_attribute("global_seed_generator")
    keras.utils.set_random_seed(seed)
    global_state.set_global_attribute("global_seed_generator", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("global_seed_generator", keras_seed)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
