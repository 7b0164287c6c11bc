"""Hyperparameters that move: schedules, callables and numbers set during training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.numpy_rules import moving, settable
from tests.optimizers.rule_cases import (
    EXACT,
    OTHER_SPELLINGS,
    PACKED,
    PAIRS,
    RULES,
    Zigzag,
    assert_equal,
    exact,
    hyperparameters,
    random_training,
    stepped,
    trained,
)

# One unpacked weight and packed ones, fewer than in `MIXED`.
SHAPES = [(3, 2), (32769,), ()]
STEPS = 12
each_rule = pytest.mark.parametrize("name", RULES)
each_hyperparameter = pytest.mark.parametrize(("name", "argument"), PAIRS)


def by_step(start, gradients):
    return start, list(zip(*gradients, strict=True))


def everything(rule):
    """Each hyperparameter of the rule as a schedule."""
    return {argument: Zigzag(EXACT[argument]) for argument in hyperparameters(rule)}


def in_numpy(schedules):
    return {argument: moving(z.at) for argument, z in schedules.items()}


# Schedules


@each_hyperparameter
def test_schedule_is_followed(name, argument):
    rule, training = RULES[name], random_training(PACKED, STEPS)
    zigzag = Zigzag(EXACT[argument])
    optimizer = rule.ours(**{**exact(rule), argument: zigzag})
    expected = rule.in_numpy(*training, **exact(rule) | {argument: moving(zigzag.at)})
    assert_equal(trained(optimizer, *training), expected)


@each_rule
@pytest.mark.parametrize("fused", [False, True], ids=["ops", "fused"])
def test_all_schedules_are_followed_at_once(name, fused):
    rule, training = RULES[name], random_training(SHAPES, 20)
    schedules = everything(rule)
    expected = rule.in_numpy(*training, **exact(rule) | in_numpy(schedules))
    optimizer = rule.ours(**exact(rule) | schedules, fused=fused)
    assert_equal(trained(optimizer, *training), expected)


@each_rule
def test_updates_are_counted_under_accumulation(name):
    rule, training = RULES[name], random_training(SHAPES, 24)
    arguments = exact(rule) | {
        "gradient_accumulation_steps": 3,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 2,
    }
    schedules = everything(rule)
    expected = rule.in_numpy(
        *training,
        **arguments | in_numpy(schedules),
        constraint=lambda w: np.maximum(w, -0.5),
    )
    optimizer = rule.ours(**arguments | schedules, use_ema=True)
    actual = trained(optimizer, *training, constraint=lambda w: tf.maximum(w, -0.5))
    assert_equal(actual, expected)
    assert (actual == -0.5).any()


# Callables and numbers that are set


@each_hyperparameter
@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_callable_is_read_at_every_step(name, argument, eager):
    rule, training = RULES[name], random_training(PACKED, STEPS)
    zigzag = Zigzag(EXACT[argument])
    value = keras.Variable(0.0, dtype="float64")
    optimizer = rule.ours(**exact(rule) | {argument: lambda: value})
    actual, traces = stepped(
        optimizer, *by_step(*training), lambda t: value.assign(zigzag.at(t)), eager
    )
    expected = rule.in_numpy(*training, **exact(rule) | {argument: settable(zigzag.at)})
    assert_equal(actual, expected)
    assert eager or traces == 1


@each_hyperparameter
@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_number_set_between_steps_is_used_at_once_without_retracing(
    name, argument, eager
):
    rule, training = RULES[name], random_training(PACKED, STEPS)
    zigzag = Zigzag(EXACT[argument])
    optimizer = rule.ours(**exact(rule) | {argument: EXACT[argument]})
    actual, traces = stepped(
        optimizer,
        *by_step(*training),
        lambda t: setattr(optimizer, argument, zigzag.at(t)),
        eager,
    )
    expected = rule.in_numpy(*training, **exact(rule) | {argument: settable(zigzag.at)})
    assert_equal(actual, expected)
    assert eager or traces == 1


DATA = np.random.default_rng(3).normal(size=(48, 4)).astype("float32").astype("float64")


class Counted(keras.losses.Loss):
    """A loss with a constant gradient, which counts how often it is traced."""

    traces = 0

    def call(self, y, y_hat):
        self.traces += 1
        return keras.ops.sum(y_hat, axis=-1)


def fit(optimizer, act=lambda batch: None, **compile_arguments):
    """The flat weights after each batch of four rows, and the loss."""
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="float64"),
            keras.layers.Dense(3, dtype="float64", kernel_initializer="zeros"),
        ]
    )
    loss = Counted(dtype="float64")
    model.compile(optimizer, loss=loss, **compile_arguments)
    trajectory, traces = [], []

    def collect(batch, logs=None):
        trajectory.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        traces.append(loss.traces)

    model.fit(
        DATA,
        np.zeros((48, 3)),
        batch_size=4,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_begin=lambda batch, logs: act(batch)
            ),
            keras.callbacks.LambdaCallback(on_train_batch_end=collect),
        ],
    )
    return np.array(trajectory), traces


def fit_training():
    means = DATA.reshape(12, 4, 4).mean(1)
    gradients = [np.repeat(means[:, :, None], 3, axis=2), np.ones((12, 3))]
    return [np.zeros((4, 3)), np.zeros(3)], gradients


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [*((name, False) for name in RULES), ("nesterov", True), ("nadam", True)],
)
def test_numbers_set_during_fit_are_used_from_the_next_step_without_retracing(
    name, jit_compile
):
    rule = RULES[name]
    zigzags = everything(rule)

    def act(batch):
        for argument, zigzag in zigzags.items():
            setattr(optimizer, argument, zigzag.at(batch))

    tops = {argument: EXACT[argument] for argument in zigzags}
    optimizer = rule.ours(**exact(rule) | tops)
    actual, traces = fit(optimizer, act, jit_compile=jit_compile)
    expected = rule.in_numpy(
        *fit_training(),
        **exact(rule) | {argument: settable(z.at) for argument, z in zigzags.items()},
    )
    assert_equal(actual, expected)
    assert traces[0] == traces[-1] > 0


@each_hyperparameter
def test_number_reads_back_as_it_was_set(name, argument):
    optimizer = RULES[name].ours(**{argument: EXACT[argument]})
    setattr(optimizer, argument, 0.375)
    assert float(getattr(optimizer, argument)) == 0.375
    assert optimizer.get_config()[argument] == 0.375


@each_hyperparameter
def test_number_cannot_be_set_over_a_schedule(name, argument):
    optimizer = RULES[name].ours(**{argument: Zigzag(0.5)})
    with pytest.raises(TypeError, match=rf"{argument}.*{argument}=0.25"):
        setattr(optimizer, argument, 0.25)


SPELLINGS = RULES | OTHER_SPELLINGS
ABSENT = [(name, "weight_decay") for name in RULES if name != "adamw"]


each_absent = pytest.mark.parametrize(
    ("name", "argument"),
    [
        *ABSENT,
        ("sgd", "momentum"),
        ("sgd-nesterov", "momentum"),
        ("rmsprop", "momentum"),
    ],
)


def without(name, argument):
    numbers = {"momentum": 0.0} if argument == "momentum" else {}
    return SPELLINGS[name].ours(**numbers)


@pytest.mark.parametrize("built", [False, True], ids=["created", "built"])
@each_absent
def test_what_was_absent_at_first_cannot_be_set_later(name, argument, built):
    optimizer = without(name, argument)
    if built:
        optimizer.build([keras.Variable(1.0)])
    with pytest.raises(TypeError, match=rf"{argument}.*{argument}=0\.5"):
        setattr(optimizer, argument, 0.5)


# Saving


@each_rule
@pytest.mark.parametrize("kind", ["set", "schedule"])
def test_saved_training_continues_as_if_it_had_not_stopped(name, kind, tmp_path):
    rule = RULES[name]
    zigzags = everything(rule)
    tops = {argument: EXACT[argument] for argument in zigzags}
    optimizer = rule.ours(**exact(rule) | (zigzags if kind == "schedule" else tops))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")

    def train(model, batches):
        for t in batches:
            if kind == "set" and t < 3:
                for argument, zigzag in zigzags.items():
                    setattr(model.optimizer, argument, zigzag.at(t + 1))
            model.train_on_batch(DATA[4 * t : 4 * t + 4], np.ones((4, 1)))

    train(model, range(4))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for argument in zigzags:
        value = float(getattr(model.optimizer, argument))
        assert float(getattr(loaded.optimizer, argument)) == value
        assert kind == "schedule" or value == zigzags[argument].at(3)
    for resumed in (model, loaded):
        train(resumed, range(4, 8))
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(
        model.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
