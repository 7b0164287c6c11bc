"""What the tests of callbacks share: data, small models, ways to train, and faults."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

# Ways to run the same training step.
MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "jit": {"jit_compile": True},
    "blocks": {"steps_per_execution": 2},
    "jit blocks": {"jit_compile": True, "steps_per_execution": 3},
    "eager": {"run_eagerly": True},
}


def slow(*values):
    """A parameter set whose test is marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


# Training


def regression(
    samples=24, shape=(6,), outputs=3, *, seed=5, scale=1.0, dtype="float32"
):
    """Normal inputs, and normal targets of standard deviation `scale`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, *shape)).astype(dtype)
    return x, (scale * rng.normal(size=(samples, outputs))).astype(dtype)


def network(*, inputs=6, outputs=3, dtype=None):
    """Two dense layers that start the same each time."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(5, "tanh", dtype=dtype),
            keras.layers.Dense(outputs, dtype=dtype),
        ]
    )


def with_built_optimizer(model):
    """The compiled model, for tests that are not about what `fit` builds.

    TensorFlow traces a training step a second time if the first one made variables.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return model


def fit(model, data, callbacks=(), *, epochs=1, batch_size=4, **options):
    """Fits in the order of the data.

    Args:
        model: a compiled model.
        data: a tuple of arrays `(x, y)` or `(x, y, sample_weight)`, or batches.
        callbacks: one, several, or a ready `CallbackList`.
        epochs: as in `fit`.
        batch_size: as in `fit`, for arrays.
        **options: other arguments of `fit`.

    Returns:
        The `History`.
    """
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        one = isinstance(callbacks, keras.callbacks.Callback)
        callbacks = [callbacks] if one else list(callbacks)
    arrays = isinstance(data, tuple)
    x, y, sample_weight = (
        keras.utils.unpack_x_y_sample_weight(data) if arrays else (data, None, None)
    )
    return model.fit(
        x,
        y,
        sample_weight=sample_weight,
        batch_size=batch_size if arrays else None,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        **options,
    )


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers made in this context have this dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def alone_and_together(strategy, train: Callable[[], Any]) -> tuple[Any, Any]:
    """What `train` returns on one device, and on the replicas of a strategy."""
    alone = train()
    with strategy.scope():
        return alone, train()


# Records of a training


class Tape(keras.layers.Layer):
    """Step t gives the t-th weight, and no other, a gradient of one.

    In inference, the output is `outputs[i]` once `(i + 1) * every` steps were made.
    """

    def __init__(self, outputs: Sequence[float] = (0.0,), every: int = 1, **options):
        super().__init__(**options)
        self.outputs, self.every = outputs, every

    def build(self, shape):
        self.row = self.add_weight(shape=(200,), initializer="zeros", name="row")
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )

    def call(self, x, training=False):
        dtype = self.compute_dtype
        step = ops.cast(self.step, "int32")
        if training:
            self.step.assign_add(1.0)
            place = ops.one_hot(step, 200, dtype=dtype)
            return ops.zeros_like(x) + ops.sum(ops.cast(self.row, dtype) * place)
        outputs = ops.convert_to_tensor(self.outputs, dtype=dtype)
        index = ops.clip(step // self.every - 1, 0, len(self.outputs) - 1)
        return ops.zeros_like(x) + ops.take(outputs, index)


def mean_output(y, y_hat):
    """A loss whose gradient is the same whatever the weights are."""
    return ops.mean(y_hat, axis=-1)


def tape_model(
    optimizer, outputs=(0.0,), every=1, *, below=(), dtype="float32", **options
):
    """A compiled model that ends with a `Tape`."""
    tape = Tape(outputs, every, dtype=dtype)
    model = keras.Sequential([keras.Input((1,)), *below, tape])
    model.compile(optimizer, options.pop("loss", mean_output), **options)
    return model


def tape_data(batches: int, batch_size: int = 4):
    """Data for a `tape_model`, whose values do not matter."""
    shape = batches * batch_size, 1
    return np.zeros(shape, "float32"), np.zeros(shape, "float32")


def moved(model) -> np.ndarray:
    """How far each step's weight of the `Tape` has moved."""
    layer = model.layers[-1]
    return layer.row.numpy()[: int(layer.step.numpy())].astype("float64")


def state(model) -> list[np.ndarray]:
    """The values of all variables of a model and its optimizer."""
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


def assert_identical(first, second):
    """Two nested structures of arrays, equal to the last bit."""
    keras.tree.map_structure(np.testing.assert_array_equal, first, second)


class Observe(keras.callbacks.Callback):
    """Keeps what a function returns at the end of each epoch, or of each batch."""

    def __init__(self, function: Callable[[], Any], *, every: str = "epoch"):
        super().__init__()
        self.function, self.every = function, every
        self.values: list[Any] = []

    def on_train_batch_end(self, batch, logs=None):
        if self.every == "batch":
            self.values.append(self.function())

    def on_epoch_end(self, epoch, logs=None):
        if self.every == "epoch":
            self.values.append(self.function())


class Report(keras.callbacks.Callback):
    """Lets each epoch end with the next value of a metric."""

    def __init__(self, name: str, values: Sequence[float]):
        super().__init__()
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


# Faults


class PlannedError(Exception):
    """Raised by a test."""


class Raise(keras.callbacks.Callback):
    """Raises an error at the end of a step or of an epoch, counted from 0."""

    def __init__(self, error=PlannedError, *, step=None, epoch=None):
        super().__init__()
        self.error, self.step, self.epoch = error, step, epoch
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        if self.steps == self.step:
            raise self.error
        self.steps += 1

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise self.error


def interrupted(
    model, data, callbacks, *, error=PlannedError, step=None, epoch=None, **options
):
    """A `fit` that an error ends, after this step or epoch."""
    fault = Raise(error, step=step, epoch=epoch)
    # `pytest.raises` would keep the frames of `fit`, and with them the callbacks.
    with contextlib.suppress(error):
        fit(model, data, [*callbacks, fault], **options)
        raise AssertionError("training was not interrupted")


class FailOnNegative(keras.layers.Layer):
    """Fails inside the compiled step when it meets a negative input."""

    def call(self, x):
        tf.debugging.assert_non_negative(x, "planned")
        return tf.identity(x)


def parts(model) -> list[Any]:
    """The model and its optimizers, also those inside another."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    optimizers = [model.optimizer, inner, *getattr(inner, "optimizers", [])]
    return list({id(part): part for part in (model, *optimizers)}.values())


def leftovers(model) -> list[str]:
    """Attributes of the model and its optimizers that a callback of ours replaced."""
    found = []
    for thing in parts(model):
        for name, value in vars(thing).items():
            module = getattr(value, "__module__", None) or type(value).__module__
            if "keras_dnn.callbacks" in str(module):
                found.append(name)
        found += [
            name
            for name in ("apply", "_clip_gradients", "make_train_function", "fit")
            if name in vars(thing)
        ]
    return found
