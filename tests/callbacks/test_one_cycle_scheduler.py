"""`OneCycleScheduler`: the rate and momentum that each step used."""

import itertools

import keras
import numpy as np
import pytest

from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.callbacks import OneCycleScheduler
from keras_dnn.optimizers import SGD, Adam, Momentum, Nesterov, RMSProp
from tests.callbacks.cycle_replay import (
    BATCHES,
    EPOCHS,
    HIGH,
    STEPS,
    TOP,
    adam,
    assert_moved,
    heavy_ball,
    knots,
    look_ahead,
    momenta_of,
    rates_of,
)
from tests.callbacks.harness import MODES, fit, moved, tape_data, tape_model

DATA = tape_data(BATCHES)


@pytest.mark.parametrize(
    "options", [*MODES.values(), {"steps_per_execution": 4}], ids=str
)
def test_each_step_uses_its_own_rate_and_momentum(options):
    model = tape_model(Momentum(0.01, 0.5), **options)
    one_cycle = OneCycleScheduler(TOP)
    fit(model, DATA, one_cycle, epochs=EPOCHS)
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))
    assert one_cycle.schedule.total_steps == STEPS
    assert one_cycle.coverage == 1.0
    np.testing.assert_allclose(
        one_cycle.schedule.values(range(STEPS)), rates_of(STEPS), rtol=1e-6
    )


def test_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = tape_model(Momentum(0.01, 0.5))
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_under_a_loss_scale(dtype):
    inner = Momentum(0.01, 0.5)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0)
    model = tape_model(optimizer, dtype=dtype)
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))
    assert float(inner.learning_rate) == pytest.approx(0.01)
    assert float(inner.momentum) == 0.5


def test_under_the_loss_scale_that_compile_adds():
    """Its first scales overflow nothing here, so no step is skipped."""
    model = tape_model(
        Momentum(0.01, 0.5), dtype="mixed_float16", below=[keras.layers.Identity()]
    )
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    assert_moved(model, heavy_ball(rates_of(STEPS), momenta_of(STEPS)))


def test_the_momentum_of_sgd_nesterov_and_adam_follows_too():
    rates, momenta = rates_of(STEPS), momenta_of(STEPS)
    for optimizer, expected in (
        (SGD(0.01, momentum=0.5), heavy_ball(rates, momenta)),
        (Nesterov(0.01, 0.5), look_ahead(rates, momenta, HIGH)),
        (Adam(0.01, beta_1=0.5), adam(rates, momenta)),
    ):
        model = tape_model(optimizer)
        fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
        assert_moved(model, expected, 1e-4)


def test_without_momentum_only_the_rate_changes():
    model = tape_model(Momentum(0.01, 0.5))
    fit(model, DATA, OneCycleScheduler(TOP, momentum=None), epochs=EPOCHS)
    assert_moved(model, heavy_ball(rates_of(STEPS), np.full(STEPS, 0.5)))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: keras.optimizers.SGD(0.01, momentum=0.5), heavy_ball),
        (lambda: keras.optimizers.Adam(0.01, beta_1=0.5), adam),
    ],
    ids=["SGD", "Adam"],
)
def test_with_an_optimizer_of_keras_only_the_rate_changes_and_a_warning_says_so(
    make, rule
):
    optimizer = make()
    model = tape_model(optimizer, steps_per_execution=4)
    with pytest.warns(UserWarning, match="only the learning rate"):
        fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    assert_moved(model, rule(rates_of(STEPS), np.full(STEPS, 0.5)), 1e-4)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_with_an_optimizer_of_keras_and_no_momentum_there_is_no_warning():
    model = tape_model(keras.optimizers.SGD(0.01))
    fit(model, DATA, OneCycleScheduler(TOP, momentum=None), epochs=EPOCHS)
    assert_moved(model, -rates_of(STEPS))


@pytest.mark.parametrize("make", [Momentum, keras.optimizers.SGD])
def test_the_cycle_counts_updates_and_not_micro_batches(make):
    """Five batches in three epochs are seven updates of two, and one batch left."""
    made = make(0.01, momentum=0.0, gradient_accumulation_steps=2)
    model = tape_model(made)
    one_cycle = OneCycleScheduler(TOP, momentum=None)
    fit(model, tape_data(5), one_cycle, epochs=3)
    assert one_cycle.schedule.total_steps == 7
    assert_moved(model, np.append(-np.repeat(rates_of(7), 2) / 2, 0.0))
    assert one_cycle.coverage == 1.0


def test_accumulation_in_whole_updates_with_momentum():
    model = tape_model(Momentum(0.01, 0.5, gradient_accumulation_steps=2))
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    updates = STEPS // 2
    once = heavy_ball(rates_of(updates), momenta_of(updates))
    assert_moved(model, np.repeat(once, 2) / 2)


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
    fit(model, DATA, one_cycle, epochs=EPOCHS)
    at = knots(STEPS, 0.3, 0.2)
    assert at == [0, 7, 18, 23]

    def cosine(values):
        found = []
        for (a, u), (b, v) in itertools.pairwise(zip(at, values, strict=True)):
            fraction = np.arange(b - a) / (b - a)
            found.extend(v + (u - v) * (1 + np.cos(np.pi * fraction)) / 2)
        return np.array([*found, values[-1]])

    expected = heavy_ball(
        cosine([0.05, 0.2, 0.05, 0.005]), cosine([0.9, 0.6, 0.9, 0.9])
    )
    assert_moved(model, expected)


def test_a_multi_optimizer_is_refused():
    model = tape_model(multi_optimizer(SGD(0.1), {".*kernel": Adam(0.1)}))
    with pytest.raises(ValueError, match="MultiOptimizer"):
        fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    fit(model, DATA, epochs=EPOCHS)
    assert_moved(model, np.full(STEPS, -0.1))


@pytest.mark.parametrize("make", [SGD, RMSProp])
def test_the_rate_of_an_optimizer_of_ours_without_momentum_follows(make):
    model, twin = tape_model(make(0.01)), tape_model(make(0.01))
    fit(model, DATA, OneCycleScheduler(TOP), epochs=EPOCHS)
    twin.optimizer.learning_rate = TOP
    fit(twin, DATA, epochs=EPOCHS)
    assert_moved(model, moved(twin) * rates_of(STEPS) / TOP)


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
