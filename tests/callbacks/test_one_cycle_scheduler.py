"""`OneCycleScheduler`: what each step really used, against the cycle in NumPy."""

import contextlib
import itertools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_dnn.callbacks import OneCycleScheduler
from keras_dnn.optimizers import SGD, Adam, Momentum, Nesterov, RMSProp
from keras_dnn.optimizers.schedules import CosineDecay

# Six batches of four and four epochs are 24 steps.
BATCH, BATCHES, EPOCHS = 4, 6, 4
STEPS = BATCHES * EPOCHS
TOP, HIGH, LOW = 0.5, 0.95, 0.85


class Tape(keras.layers.Layer):
    """Step t gives the t-th weight, and no other, a gradient of one."""

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
        place = ops.one_hot(ops.cast(self.step, "int32"), 200, dtype=dtype)
        if training:
            self.step.assign_add(1.0)
        return ops.zeros_like(x) + ops.sum(ops.cast(self.row, dtype) * place)


def mean_output(y, y_hat):
    return ops.mean(y_hat, axis=-1)


def tape_model(optimizer, dtype="float32", extra=(), **options):
    model = keras.Sequential([keras.Input((1,)), *extra, Tape(dtype=dtype)])
    model.compile(optimizer, options.pop("loss", mean_output), **options)
    return model


def tape(model):
    """How far each step's weight has moved, up to the steps that were made."""
    layer = model.layers[-1]
    return layer.row.numpy()[: int(layer.step.numpy())].astype("float64")


def data(samples=BATCH * BATCHES):
    return np.ones((samples, 1), "float32"), np.zeros((samples, 1), "float32")


def fit(model, callbacks=(), epochs=EPOCHS, samples=BATCH * BATCHES, **options):
    x, y = data(samples)
    return model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


# The cycle and the rules a second time


def knots(steps, warmup=0.45, final=0.1):
    last = steps - 1
    return [0, round(warmup * last), last - round(final * last), last]


def rates_of(steps, top=TOP, d0=10.0, d1=1000.0):
    values = [top / d0, top, top / d0, top / d0 / d1]
    return np.interp(np.arange(steps), knots(steps), values)


def momenta_of(steps, high=HIGH, low=LOW):
    return np.interp(np.arange(steps), knots(steps), [high, low, high, high])


def heavy_ball(rates, momenta):
    """Where momentum takes the tape."""
    m, w = np.zeros(len(rates)), np.zeros(len(rates))
    for t, (rate, momentum) in enumerate(zip(rates, momenta, strict=True)):
        m *= momentum
        m[t] -= rate
        w += m
    return w


def look_ahead(rates, momenta, after):
    """Nesterov's, with the next step's momentum; `after` follows the last."""
    m, w = np.zeros(len(rates)), np.zeros(len(rates))
    following = [*momenta[1:], after]
    for t, rate in enumerate(rates):
        m *= momenta[t]
        m[t] -= rate
        w += following[t] * m
        w[t] -= rate
    return w


def adam(rates, betas, beta_2=0.999, epsilon=1e-7):
    m, v, w = (np.zeros(len(rates)) for _ in range(3))
    product = 1.0
    for t, (rate, beta) in enumerate(zip(rates, betas, strict=True)):
        g = np.eye(len(rates))[t]
        m, v = beta * m + (1 - beta) * g, beta_2 * v + (1 - beta_2) * g
        product *= beta
        alpha = rate * np.sqrt(1 - beta_2 ** (t + 1)) / (1 - product)
        w -= alpha * m / (np.sqrt(v) + epsilon)
    return w


def assert_moved(model, expected, rtol=2e-5):
    expected = np.asarray(expected)
    assert len(tape(model)) == len(expected)
    np.testing.assert_allclose(
        tape(model), expected, rtol=rtol, atol=rtol * np.abs(expected).min()
    )


# Every way of training

MODES = {
    "default": {},
    "jit": {"jit_compile": True},
    "blocks": {"steps_per_execution": 4},
    "jit_blocks": {"jit_compile": True, "steps_per_execution": 3},
    "eager": {"run_eagerly": True},
}


@pytest.mark.parametrize("mode", MODES)
def test_each_step_uses_its_own_rate_and_momentum(mode):
    model = tape_model(Momentum(0.01, 0.5), **MODES[mode])
    one_cycle = OneCycleScheduler(TOP)
    fit(model, [one_cycle])
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))
    assert one_cycle.schedule.total_steps == STEPS
    assert one_cycle.coverage == 1.0
    np.testing.assert_allclose(
        one_cycle.schedule.values(range(STEPS)), rates_of(STEPS), rtol=1e-6
    )


def test_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = tape_model(Momentum(0.01, 0.5))
    fit(model, [OneCycleScheduler(TOP)])
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_under_a_loss_scale(dtype):
    inner = Momentum(0.01, 0.5)
    model = tape_model(
        keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0), dtype
    )
    fit(model, [OneCycleScheduler(TOP)])
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))
    assert float(inner.learning_rate) == pytest.approx(0.01)
    assert float(inner.momentum) == 0.5


def test_under_the_loss_scale_that_compile_adds():
    """Its first scales overflow nothing here, so no step is skipped."""
    model = tape_model(
        Momentum(0.01, 0.5), "mixed_float16", extra=[keras.layers.Identity()]
    )
    fit(model, [OneCycleScheduler(TOP)])
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))


def test_sgd_nesterov_and_adam_have_their_momentum_moved():
    rates, momenta = rates_of(STEPS), momenta_of(STEPS)
    for optimizer, expected in (
        (SGD(0.01, momentum=0.5), heavy_ball(rates, momenta)),
        (Nesterov(0.01, 0.5), look_ahead(rates, momenta, HIGH)),
        (Adam(0.01, beta_1=0.5), adam(rates, momenta)),
    ):
        model = tape_model(optimizer)
        fit(model, [OneCycleScheduler(TOP)])
        assert_moved(model, expected, 1e-4)


def test_without_momentum_only_the_rate_moves():
    model = tape_model(Momentum(0.01, 0.5))
    fit(model, [OneCycleScheduler(TOP, momentum=None)])
    assert_moved(model, heavy_ball(rates_of(STEPS), np.full(STEPS, 0.5)))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: keras.optimizers.SGD(0.01, momentum=0.5), heavy_ball),
        (lambda: keras.optimizers.Adam(0.01, beta_1=0.5), adam),
    ],
    ids=["SGD", "Adam"],
)
def test_with_an_optimizer_of_keras_only_the_rate_moves_and_a_warning_says_so(
    make, rule
):
    optimizer = make()
    model = tape_model(optimizer, steps_per_execution=4)
    with pytest.warns(UserWarning, match="only the learning rate"):
        fit(model, [OneCycleScheduler(TOP)])
    assert_moved(model, rule(rates_of(STEPS), np.full(STEPS, 0.5)), 1e-4)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_with_an_optimizer_of_keras_and_no_momentum_there_is_no_warning():
    model = tape_model(keras.optimizers.SGD(0.01))
    fit(model, [OneCycleScheduler(TOP, momentum=None)])
    assert_moved(model, -rates_of(STEPS))


@pytest.mark.parametrize("make", [Momentum, keras.optimizers.SGD])
def test_the_cycle_counts_updates_and_not_micro_batches(make):
    """Five batches in three epochs are seven updates of two, and one batch left."""
    made = make(0.01, momentum=0.0, gradient_accumulation_steps=2)
    model = tape_model(made)
    one_cycle = OneCycleScheduler(TOP, momentum=None)
    fit(model, [one_cycle], epochs=3, samples=5 * BATCH)
    assert one_cycle.schedule.total_steps == 7
    assert_moved(model, np.append(-np.repeat(rates_of(7), 2) / 2, 0.0))
    assert one_cycle.coverage == 1.0


def test_accumulation_in_whole_updates_with_momentum():
    model = tape_model(Momentum(0.01, 0.5, gradient_accumulation_steps=2))
    fit(model, [OneCycleScheduler(TOP)])
    updates = STEPS // 2
    once = heavy_ball(rates_of(updates), momenta_of(updates))
    assert_moved(model, np.repeat(once, 2) / 2)


# How long a cycle is


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        return data(BATCH)


def dataset():
    return tf.data.Dataset.from_tensor_slices(data()).batch(BATCH)


def generator():
    while True:
        yield data(BATCH)


LENGTHS = {
    "short last batch": (lambda: data(22), {"batch_size": 4}, 24),
    "default batch size": (lambda: data(70), {}, 12),
    "validation split": (
        lambda: data(30),
        {"batch_size": 4, "validation_split": 0.2},
        24,
    ),
    "later start": (data, {"batch_size": 4, "initial_epoch": 1}, 18),
    "tf.data": (lambda: (dataset(),), {}, 24),
    "repeated": (lambda: (dataset().repeat(),), {"steps_per_epoch": 5}, 20),
    "generator": (lambda: (generator(),), {"steps_per_epoch": 3}, 12),
    "unknown size": (
        lambda: (dataset().filter(lambda x, y: True).repeat(),),
        {"steps_per_epoch": 5},
        20,
    ),
    "PyDataset": (lambda: (Sequence(),), {}, 24),
    "weights": (
        data,
        {"batch_size": 3, "sample_weight": np.ones(24, "float32")},
        32,
    ),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_the_cycle_is_as_long_as_the_fit(kind):
    make, options, steps = LENGTHS[kind]
    model = tape_model(SGD(0.01, momentum=0.5))
    one_cycle = OneCycleScheduler(TOP)
    model.fit(
        *make(), epochs=4, shuffle=False, verbose=0, callbacks=[one_cycle], **options
    )
    assert one_cycle.schedule.total_steps == steps
    assert one_cycle.coverage == 1.0
    # A batch that is short weighs no less in the mean.
    assert_moved(model, heavy_ball(rates_of(steps), momenta_of(steps)), 1e-4)


def test_data_of_unknown_size_needs_total_steps():
    unknown = dataset().filter(lambda x, y: True)
    made = Momentum(0.01, 0.5)
    model = tape_model(made)
    options = {"epochs": 4, "shuffle": False, "verbose": 0}
    with pytest.raises(ValueError, match=r"total_steps[\s\S]*Received: "):
        model.fit(unknown, callbacks=[OneCycleScheduler(TOP)], **options)
    assert own_values(made) == (pytest.approx(0.01), 0.5)
    one_cycle = OneCycleScheduler(TOP, total_steps=STEPS)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        model.fit(unknown, callbacks=[one_cycle], **options)
    assert one_cycle.schedule.total_steps == STEPS


def test_total_steps_longer_than_the_fit_is_part_of_a_cycle():
    model = tape_model(Momentum(0.01, 0.5))
    one_cycle = OneCycleScheduler(TOP, total_steps=40)
    fit(model, [one_cycle])
    assert_moved(model, heavy_ball(rates_of(40)[:24], momenta_of(40)[:24]))
    assert one_cycle.coverage == pytest.approx(24 / 40)


def test_options_are_those_of_one_cycle():
    model = tape_model(SGD(0.01, momentum=0.5))
    one_cycle = OneCycleScheduler(
        0.2,
        (0.9, 0.6),
        initial_divisor=4.0,
        final_divisor=10.0,
        warmup_fraction=0.3,
        final_fraction=0.2,
        anneal="cosine",
    )
    fit(model, [one_cycle])
    at = knots(STEPS, 0.3, 0.2)
    assert at == [0, 7, 18, 23]

    def cosine(values):
        found = []
        for (a, u), (b, v) in itertools.pairwise(zip(at, values, strict=True)):
            share = np.arange(b - a) / (b - a)
            found.extend(v + (u - v) * (1 + np.cos(np.pi * share)) / 2)
        return np.array([*found, values[-1]])

    expected = heavy_ball(
        cosine([0.05, 0.2, 0.05, 0.005]), cosine([0.9, 0.6, 0.9, 0.9])
    )
    assert_moved(model, expected)


# Afterwards


def own_values(optimizer):
    return float(optimizer.learning_rate), float(optimizer.momentum)


@pytest.mark.parametrize("mode", ["default", "jit_blocks"])
def test_the_next_fit_uses_the_optimizers_own_values(mode):
    optimizer = Momentum(0.125, 0.5)
    model = tape_model(optimizer, **MODES[mode])
    fit(model)
    fit(model, [OneCycleScheduler(TOP)])
    assert own_values(optimizer) == (0.125, 0.5)
    assert optimizer.get_config() == Momentum(0.125, 0.5).get_config()
    fit(model)
    own = np.full(STEPS, 0.125), np.full(STEPS, 0.5)
    rates = np.concatenate([own[0], rates_of(STEPS), own[0]])
    momenta = np.concatenate([own[1], momenta_of(STEPS), own[1]])
    assert_moved(model, heavy_ball(rates, momenta))


def test_a_schedule_and_a_callable_come_back_and_did_not_stand_still():
    schedule = CosineDecay(0.4, decay_steps=100)
    optimizer = Momentum(schedule, lambda: 0.5)
    model = tape_model(optimizer)
    fit(model, [OneCycleScheduler(TOP)])
    fit(model)
    later = schedule.values(np.arange(STEPS, 2 * STEPS))
    rates = np.concatenate([rates_of(STEPS), later])
    momenta = np.concatenate([momenta_of(STEPS), np.full(STEPS, 0.5)])
    assert_moved(model, heavy_ball(rates, momenta))


def test_a_second_fit_is_a_second_cycle_with_a_length_of_its_own():
    model = tape_model(Momentum(0.125, 0.5))
    one_cycle = OneCycleScheduler(TOP)
    fit(model, [one_cycle])
    fit(model, [one_cycle], epochs=2)
    assert one_cycle.schedule.total_steps == 12
    rates = np.concatenate([rates_of(24), rates_of(12)])
    momenta = np.concatenate([momenta_of(24), momenta_of(12)])
    # The first cycle's last look ahead is none of Momentum's business.
    assert_moved(model, heavy_ball(rates, momenta))


class PlannedError(Exception):
    pass


class Raise(keras.callbacks.Callback):
    """Raises at the end of some step."""

    def __init__(self, step, error):
        super().__init__()
        self.left, self.error = step, error

    def on_train_batch_end(self, batch, logs=None):
        if self.left == 0:
            raise self.error
        self.left -= 1


class Bomb(keras.layers.Layer):
    """Fails in the graph when it meets a negative input."""

    def call(self, x):
        tf.debugging.assert_non_negative(x, "planned")
        return tf.identity(x)


@pytest.mark.parametrize(
    ("error", "mode"), [(PlannedError, "default"), (KeyboardInterrupt, "jit")]
)
def test_after_an_error_the_optimizer_has_its_own_values(error, mode):
    optimizer = Momentum(0.125, 0.5)
    model = tape_model(optimizer, **MODES[mode])
    one_cycle = OneCycleScheduler(TOP)
    with contextlib.suppress(PlannedError, KeyboardInterrupt):
        fit(model, [one_cycle, Raise(9, error)])
    assert own_values(optimizer) == (0.125, 0.5)
    assert optimizer.get_config() == Momentum(0.125, 0.5).get_config()
    assert one_cycle.coverage == pytest.approx(10 / STEPS)
    fit(model, epochs=1)
    fit(model, [one_cycle], epochs=2)
    rates = np.concatenate([rates_of(24)[:10], np.full(6, 0.125), rates_of(12)])
    momenta = np.concatenate([momenta_of(24)[:10], np.full(6, 0.5), momenta_of(12)])
    assert_moved(model, heavy_ball(rates, momenta))


def test_the_coverage_stays_what_it_was_when_training_goes_on_without():
    model = tape_model(Momentum(0.125, 0.5))
    one_cycle = OneCycleScheduler(TOP, total_steps=12)
    assert one_cycle.coverage == 0.0
    assert one_cycle.schedule is None
    fit(model, [one_cycle], epochs=1)
    assert one_cycle.coverage == 0.5
    fit(model, epochs=1)
    assert one_cycle.coverage == 0.5


def test_after_an_error_in_the_graph():
    optimizer = Momentum(0.125, 0.5)
    model = tape_model(optimizer, extra=[Bomb()])
    x, y = data()
    x[13] = -1
    with contextlib.suppress(tf.errors.InvalidArgumentError):
        model.fit(
            x,
            y,
            batch_size=4,
            shuffle=False,
            verbose=0,
            callbacks=[OneCycleScheduler(TOP)],
        )
    assert own_values(optimizer) == (0.125, 0.5)
    made = len(tape(model))
    fit(model, epochs=1)
    # What comes later moves no weight of an earlier step, but not the other way.
    np.testing.assert_allclose(
        tape(model)[made:], heavy_ball(np.full(6, 0.125), np.full(6, 0.5)), rtol=1e-5
    )


def test_training_that_stops_early_says_how_much_of_the_cycle_it_made(capsys):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = tape_model(Momentum(0.01, 0.5))
    one_cycle = OneCycleScheduler(TOP)
    fit(model, [one_cycle, Stop()])
    assert one_cycle.coverage == 0.5
    assert "50" in capsys.readouterr().out
    fit(model, [one_cycle])
    assert capsys.readouterr().out == ""


def test_a_multi_optimizer_is_refused():
    each = keras.optimizers.OptimizerMap(SGD(0.1), {".*kernel": Adam(0.1)})
    model = tape_model(keras.optimizers.MultiOptimizer(each))
    with pytest.raises(ValueError, match="MultiOptimizer"):
        fit(model, [OneCycleScheduler(TOP)])
    fit(model)
    assert_moved(model, np.full(STEPS, -0.1))


@pytest.mark.parametrize("make", [SGD, RMSProp])
def test_an_optimizer_of_ours_without_momentum_has_its_rate_moved(make):
    model, twin = tape_model(make(0.01)), tape_model(make(0.01))
    fit(model, [OneCycleScheduler(TOP)])
    twin.optimizer.learning_rate = TOP
    fit(twin)
    assert_moved(model, tape(twin) * rates_of(STEPS) / TOP)


def test_a_model_saved_in_the_middle_and_at_the_end_loads_and_trains(tmp_path):
    model = tape_model(Momentum(0.125, 0.5))
    save = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True
    )
    fit(model, [OneCycleScheduler(TOP), save])
    for path in ("4.weights.h5", "2.weights.h5"):
        twin = tape_model(Momentum(0.125, 0.5))
        twin.optimizer.build(twin.trainable_variables)
        twin.load_weights(tmp_path / path)
        assert own_values(twin.optimizer) == (0.125, 0.5), path


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("max_learning_rate", {"max_learning_rate": 0.0}),
        ("max_learning_rate", {"max_learning_rate": -1.0}),
        ("max_learning_rate", {"max_learning_rate": float("nan")}),
        ("max_learning_rate", {"max_learning_rate": "fast"}),
        ("momentum", {"momentum": 0.9}),
        ("momentum", {"momentum": (0.9,)}),
        ("momentum", {"momentum": (1.0, 0.85)}),
        ("momentum", {"momentum": (0.85, 0.95)}),
        ("momentum", {"momentum": (0.9, -0.1)}),
        ("total_steps", {"total_steps": 0}),
        ("total_steps", {"total_steps": 2.5}),
        ("initial_divisor", {"initial_divisor": 0.5}),
        ("anneal", {"anneal": "exponential"}),
    ],
)
def test_bad_values_are_named_when_the_callback_is_made(name, arguments):
    with pytest.raises(ValueError, match=rf"{name}[\s\S]*Received: "):
        OneCycleScheduler(**{"max_learning_rate": TOP} | arguments)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="warmup_steps"):
        OneCycleScheduler(TOP, warmup_steps=3)
