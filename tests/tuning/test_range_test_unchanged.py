"""A range test changes neither the model nor any random generator."""

import gc
import random
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers
from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.tuning import find_learning_rate

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BATCH = 8
GLOBAL = keras.src.backend.common.global_state


class Drawing(keras.layers.Layer):
    """Draws from the global generator, whatever the mode."""

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs + 0.1 * keras.random.normal(shape, dtype=inputs.dtype)


def network(
    optimizer, dtype="float32", loss="mse", build=True, global_noise=True, **compiled
):
    """A model with statistics, metrics, its own seeds and the global generator."""
    GLOBAL.set_global_attribute("global_seed_generator", None)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            *([keras.Input((4,))] if build else []),
            keras.layers.Dense(6, "relu", dtype=dtype),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.Dropout(0.3, dtype=dtype),
            *([Drawing(dtype=dtype)] if global_noise else []),
            keras.layers.Dense(1, dtype=dtype),
        ]
    )
    model.compile(optimizer, loss, metrics=["mae"], **compiled)
    return model


def state(model):
    """Everything that a program can observe, on each replica."""
    generator = GLOBAL.get_global_attribute("global_seed_generator")
    variables = [
        *model.variables,
        *model.metrics_variables,
        *model.optimizer.variables,
        *([] if generator is None else [generator.state]),
    ]
    values = [
        [part.numpy().tobytes() for part in getattr(v.value, "values", [v.value])]
        for v in variables
    ]
    random_states = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    attributes = [
        {name: id(value) for name, value in vars(thing).items()}
        for thing in (model, model.optimizer, inner)
    ]
    rate = float(keras.ops.convert_to_numpy(inner.learning_rate))
    history = getattr(model, "history", None)
    return {
        "values": values,
        "random": random_states,
        "attributes": attributes,
        "rate": rate,
        "history": history and dict(history.history),
        "stop_training": model.stop_training,
    }


def assert_same(before, after):
    for name in before.keys() - {"attributes"}:
        assert after[name] == before[name], name
    for mine, other in zip(before["attributes"], after["attributes"], strict=True):
        assert mine.keys() == other.keys()
        assert [name for name in mine if mine[name] != other[name]] == []


def fitted(model):
    """The history and the variables after a random `fit`."""
    history = model.fit(X, Y, BATCH, verbose=0).history
    return history, state(model)["values"]


def decay():
    return keras.optimizers.schedules.ExponentialDecay(0.05, 4, 0.8)


def overflowing(inner):
    return keras.optimizers.LossScaleOptimizer(
        inner, initial_scale=2.0**126, dynamic_growth_steps=3
    )


FAST = {"jit_compile": True, "steps_per_execution": 3}
MODES = {
    "ours": lambda: (optimizers.Nesterov(0.05), {}),
    "Keras's": lambda: (keras.optimizers.Adam(0.05), {}),
    "fast": lambda: (optimizers.Adam(0.05), FAST),
    "Keras's fast": lambda: (keras.optimizers.SGD(0.05, momentum=0.9), FAST),
    "float16": lambda: (optimizers.AdamW(decay()), {"dtype": "mixed_float16"}),
    "overflow": lambda: (overflowing(keras.optimizers.Adam(0.05)), {}),
    "accumulation": lambda: (
        optimizers.RMSProp(decay(), gradient_accumulation_steps=4),
        {},
    ),
    "Keras's accumulation": lambda: (
        keras.optimizers.Nadam(decay(), gradient_accumulation_steps=4),
        {},
    ),
    "average": lambda: (
        optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=4),
        {"run_eagerly": True},
    ),
}


def sweep(model, x=X, y=Y, **arguments):
    # Whatever the draw, it must not stop before everything has changed.
    settings = {"steps": 13, "min_rate": 1e-3, "stop_factor": 100.0, "seed": 1}
    arguments = {"batch_size": BATCH, **settings, **arguments}
    return find_learning_rate(model, x, y, **arguments)


def last_fit(make, sweeps, fits=1):
    """The result of the last fit, with or without a sweep before it."""
    optimizer, arguments = make()
    model = network(optimizer, **arguments)
    for _ in range(fits):
        fitted(model)
    if sweeps:
        before = state(model)
        result = sweep(model)
        assert result.rates[0] == np.float32(1e-3)
        assert len(result.losses) > 3
        if fits:
            assert_same(before, state(model))
    return fitted(model)


@pytest.mark.quick
@pytest.mark.parametrize("make", MODES.values(), ids=MODES)
def test_the_state_and_the_next_fit_are_the_same(make):
    assert last_fit(make, sweeps=True) == last_fit(make, sweeps=False)


@pytest.mark.parametrize("mode", ["ours", "Keras's fast", "float16"])
def test_the_first_fit_is_the_same(mode):
    without = last_fit(MODES[mode], sweeps=False, fits=0)
    assert last_fit(MODES[mode], sweeps=True, fits=0) == without


def test_a_model_that_was_never_fitted_has_no_history():
    model = network(optimizers.SGD(0.05))
    before = set(vars(model))
    sweep(model)
    assert hasattr(model, "history") == ("history" in before)


def test_a_model_without_an_input_shape_trains_the_same():
    results = []
    for sweeps in (False, True):
        model = network(optimizers.Adam(0.05), build=False)
        if sweeps:
            sweep(model)
        results.append(fitted(model))
    assert results[0] == results[1]


@pytest.mark.parametrize("make", [optimizers.Adam, keras.optimizers.Adam])
def test_every_replica_is_unchanged(two_replicas, make):
    results = []
    for sweeps in (False, True):
        with two_replicas.scope():
            model = network(make(0.05), global_noise=False)
        fitted(model)
        before = state(model)
        if sweeps:
            sweep(model)
            assert_same(before, state(model))
        results.append(fitted(model))
    assert results[0] == results[1]


def test_the_next_fit_does_not_trace_again():
    traces = []

    def loss(y_true, y_pred):
        traces.append(1)
        return keras.losses.mean_squared_error(y_true, y_pred)

    model = network(optimizers.Adam(0.05), loss=loss)
    fitted(model)
    sweep(model)
    count = len(traces)
    fitted(model)
    assert len(traces) == count


class Batches(keras.utils.PyDataset):
    """Rows in order; `before` is called before each batch."""

    def __init__(self, before):
        super().__init__()
        self.before = before

    def __len__(self):
        return len(X) // BATCH

    def __getitem__(self, index):
        self.before()
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows], Y[rows]


class Failing:
    """Raises an error in the fifth batch after it is armed."""

    def __init__(self, error):
        self.error = error
        self.armed = False
        self.batches = 0

    def __call__(self, _=None):
        self.batches += self.armed
        if self.batches == 5:
            self.armed, self.batches = False, 0
            if self.error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            else:
                raise self.error("the fifth batch fails")
        return np.float32(0)

    def loss(self, y_true, y_pred):
        zero = tf.numpy_function(self, [y_pred], tf.float32)
        loss = keras.losses.mean_squared_error(y_true, y_pred)
        return loss + tf.ensure_shape(zero, ())


@pytest.fixture
def _interruptible():
    """Background jobs of a shell ignore interrupts by default."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize(
    ("make", "error", "place"),
    [
        (optimizers.Adam, RuntimeError, "loss"),
        (keras.optimizers.Adam, RuntimeError, "data"),
        (optimizers.Adam, KeyboardInterrupt, "data"),
        (keras.optimizers.Adam, KeyboardInterrupt, "loss"),
    ],
)
def test_the_state_is_the_same_after_an_exception(make, error, place):
    """Also while the traceback is alive, as in a notebook or an `except` clause."""
    failing = Failing(error)
    model = network(make(0.05), loss=failing.loss if place == "loss" else "mse")
    fitted(model)
    before = state(model)
    failing.armed = True
    data = {"x": Batches(failing), "y": None} if place == "data" else {}
    expected = KeyboardInterrupt if error is KeyboardInterrupt else tf.errors.OpError
    with pytest.raises(expected) as raised:
        sweep(model, steps=100, stop_factor=1e9, **data)
    assert raised.tb is not None
    assert_same(before, state(model))
    del raised
    gc.collect()
    assert_same(before, state(model))


@pytest.mark.parametrize("make", [optimizers.Adam, keras.optimizers.Adam])
def test_training_continues_after_an_exception(make):
    results = []
    for fails in (False, True):
        failing = Failing(RuntimeError)
        model = network(make(0.05), loss=failing.loss)
        fitted(model)
        failing.armed = fails
        if fails:
            with pytest.raises(tf.errors.OpError, match="the fifth") as raised:
                sweep(model, steps=100)
            assert len(sweep(model).losses) > 3
            assert "batch fails" in str(raised.value)
        results.append(fitted(model))
    assert results[0] == results[1]


def test_a_loss_that_cannot_be_traced_changes_nothing():
    def loss(y_true, y_pred):
        if armed:
            raise TypeError("no such loss")
        return keras.losses.mean_squared_error(y_true, y_pred)

    armed = []
    model = network(keras.optimizers.Adam(0.05), loss=loss)
    fitted(model)
    before = state(model)
    armed.append(True)
    with pytest.raises(TypeError, match="no such loss"):
        sweep(model)
    gc.collect()
    assert_same(before, state(model))


def test_several_optimizers_are_refused_and_unchanged():
    model = network(multi_optimizer(keras.optimizers.SGD(0.1), {}))
    attributes = vars(model.optimizer).copy()
    built = {"_var_to_optimizer_idx"}
    with pytest.raises(ValueError, match="MultiOptimizer"):
        sweep(model)
    assert vars(model.optimizer).keys() - attributes.keys() <= built
