"""`PerformanceScheduler`: after which looks the rate falls, and for which steps."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_dnn.callbacks import PerformanceScheduler
from keras_dnn.optimizers import SGD, Momentum
from keras_dnn.optimizers.schedules import CosineDecay, PowerDecay

NAN, INF = float("nan"), float("inf")


class Tape(keras.layers.Layer):
    """Step t gives the t-th weight, and no other, a gradient of one.

    In inference its output is the value that `looks` has after so many steps.
    """

    def __init__(self, looks, every, **options):
        super().__init__(**options)
        self.looks, self.every = looks, every

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
        looks = ops.convert_to_tensor(self.looks, dtype=dtype)
        look = ops.clip(step // self.every - 1, 0, len(self.looks) - 1)
        return ops.zeros_like(x) + ops.take(looks, look)


def mean_output(y, y_hat):
    return ops.mean(y_hat, axis=-1)


def data(batches, size=4):
    return np.zeros((size * batches, 1), "float32"), np.zeros((size * batches, 1))


def tape_model(optimizer, looks, every, dtype="float32", **options):
    model = keras.Sequential([keras.Input((1,)), Tape(looks, every, dtype=dtype)])
    model.compile(optimizer, mean_output, **options)
    return model


def fit(model, callbacks, epochs, batches=2, **options):
    x, y = data(batches)
    return model.fit(
        x,
        y,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        **options,
    )


def rates_used(model):
    layer = model.layers[-1]
    return -layer.row.numpy()[: int(layer.step.numpy())]


# Patience, by hand


class Feed(keras.callbacks.Callback):
    """Lets each epoch end with the next value of a sequence."""

    def __init__(self, name, values):
        super().__init__()
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


class Rates(keras.callbacks.Callback):
    """The rate with which each epoch begins, and that after the last."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))

    def on_train_end(self, logs=None):
        self.on_epoch_begin(None)


@pytest.fixture(scope="module")
def model():
    """Trains one batch an epoch, and is traced once for all sequences."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return model


def fallen_after(model, values, monitor="val_loss", start=1.0, **options):
    """The looks, counted from 1, after which the rate was lower; and the callback."""
    options = {"min_delta": 0.0} | options
    plateau = PerformanceScheduler(monitor, **options)
    rates = Rates()
    model.optimizer.learning_rate = start
    callbacks = [Feed(monitor, values), plateau, rates]
    fit(model, callbacks, epochs=len(values), batches=1)
    fallen = np.diff(rates.seen) < 0
    return [int(i) + 1 for i in np.flatnonzero(fallen)], plateau, rates.seen


PATIENCE = {
    "as documented": ({"patience": 2}, [1.0, 0.9, 0.9, 0.9], [4]),
    "one look": ({"patience": 1}, [1, 1, 1], [2, 3]),
    "the count begins anew": ({"patience": 2}, [1, 1, 1, 1, 1, 1], [3, 5]),
    "five by default": ({}, [1, 2, 3, 4, 5, 6, 7], [6]),
    "an improvement resets": ({"patience": 3}, [1, 1, 1, 0.5, 1, 1, 1], [7]),
    "better than the last is not best": (
        {"patience": 3},
        [1, 4, 3, 2, 1.5, 1.2],
        [4],
    ),
    "always better": ({"patience": 1}, [5, 4, 3, 2, 1], []),
    "equal is not better": ({"patience": 1}, [1, 1, 0.5, 0.5], [2, 4]),
    "a hair is better": ({"patience": 1}, [1, 0.9999999, 0.9999998], []),
    "less than min_delta": (
        {"patience": 2, "min_delta": 0.1},
        [1, 0.95, 0.91, 0.89, 0.85, 0.78],
        [3],
    ),
    "exactly min_delta": ({"patience": 1, "min_delta": 0.25}, [1, 0.75, 0.5], [2]),
    "creeping does not move the best": (
        {"patience": 4, "min_delta": 0.1},
        [1, 0.97, 0.94, 0.91, 0.88],
        [],
    ),
    "default min_delta": (
        {"patience": 1, "min_delta": 1e-4},
        [1, 0.99992, 0.9998, 0.99965],
        [2],
    ),
    "maximum": ({"patience": 2, "mode": "max"}, [0.5, 0.6, 0.6, 0.55, 0.7, 0.8], [4]),
    "maximum with min_delta": (
        {"patience": 1, "mode": "max", "min_delta": 0.1},
        [0.5, 0.55, 0.65, 0.7],
        [2, 4],
    ),
    "share of a large value": (
        {"patience": 2, "min_delta": 0.1, "relative": True},
        [10, 9.5, 9.05, 8.9, 8.8, 8.0],
        [3],
    ),
    "share of a small value": (
        {"patience": 1, "min_delta": 0.1, "relative": True},
        [0.01, 0.0095, 0.0085, 0.008],
        [2, 4],
    ),
    "share of a negative value": (
        {"patience": 1, "min_delta": 0.1, "relative": True},
        [-10, -9.5, -10.5, -11.5, -12.5],
        [2, 3, 5],
    ),
    "share of a negative maximum": (
        {"patience": 1, "min_delta": 0.1, "relative": True, "mode": "max"},
        [-10, -10.5, -9.5, -8.5, -8.0],
        [2, 3, 5],
    ),
    "share of a maximum": (
        {"patience": 1, "min_delta": 0.1, "relative": True, "mode": "max"},
        [0.5, 0.54, 0.56, 0.6, 0.62],
        [2, 4],
    ),
    "share of zero": (
        {"patience": 1, "min_delta": 0.1, "relative": True},
        [0.0, -0.001, -0.00105, 0.0],
        [3, 4],
    ),
    "through zero": ({"patience": 1}, [1, 0, -1, -1, -2], [4]),
    "cooldown": ({"patience": 1, "cooldown": 2}, [1] * 9, [2, 5, 8]),
    "cooldown and patience": ({"patience": 2, "cooldown": 1}, [1] * 10, [3, 6, 9]),
    "cooldown without a reduction": ({"patience": 3, "cooldown": 5}, [1, 1, 1, 0], []),
    "best within the cooldown": (
        {"patience": 1, "cooldown": 3},
        [1, 1, 0.5, 0.6, 0.6, 0.6, 0.6],
        [2, 6],
    ),
    "an improvement does not end the cooldown": (
        {"patience": 2, "cooldown": 3},
        [1, 1, 1, 0.5, 0.6, 0.6, 0.6, 0.6],
        [3, 8],
    ),
    "NaN is no improvement": ({"patience": 2}, [1, NAN, NAN, 1], [3]),
    "NaN first": ({"patience": 2}, [NAN, 1, 1, 1, 1], [4]),
    "nothing but NaN": ({"patience": 2}, [NAN] * 5, [2, 4]),
    "NaN does not hide the best": ({"patience": 2}, [1, NAN, 0.5, NAN, 0.7], [5]),
    "NaN in max mode": ({"patience": 1, "mode": "max"}, [1, NAN, 2, NAN], [2, 4]),
    "after infinity": ({"patience": 2}, [INF, 5, 4, 4, 4], [5]),
    "after infinity, share": (
        {"patience": 2, "min_delta": 0.1, "relative": True},
        [INF, 5, 4, 3, 2],
        [],
    ),
    "infinity later": ({"patience": 2}, [1, INF, INF, 0.5], [3]),
}


@pytest.mark.parametrize("case", PATIENCE)
def test_the_rate_falls_after_these_looks(model, case):
    options, values, expected = PATIENCE[case]
    fallen, plateau, _ = fallen_after(model, values, **options)
    assert fallen == expected
    assert plateau.reductions == len(expected)


def counted(values, patience, cooldown, better):
    """The definition in the docstring, read once more."""
    best, row, quiet, fallen = None, 0, 0, []
    for number, value in enumerate(values, 1):
        improved = best is None or better(value, best)
        best = value if improved else best
        row = 0 if improved or quiet else row + 1
        quiet = max(quiet - 1, 0)
        if row == patience:
            fallen.append(number)
            row, quiet = 0, cooldown
    return fallen, best, row


@pytest.mark.parametrize("seed", range(12))
def test_random_sequences(model, seed):
    rng = np.random.default_rng(seed)
    values = rng.choice(np.arange(-8, 9) / 4, size=20).tolist()
    patience, cooldown = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    relative, mode = bool(seed % 2), ["min", "max"][seed // 2 % 2]
    sign = 1 if mode == "min" else -1

    def better(value, best):
        return sign * (best - value) > 0.3 * (abs(best) if relative else 1)

    fallen, plateau, _ = fallen_after(
        model,
        values,
        patience=patience,
        cooldown=cooldown,
        min_delta=0.3,
        relative=relative,
        mode=mode,
    )
    expected, best, row = counted(values, patience, cooldown, better)
    assert fallen == expected
    assert (plateau.best, plateau.wait) == (best, row)


def test_the_rate_is_multiplied_by_the_factor_down_to_the_least(model):
    options = {"patience": 1, "factor": 0.3, "min_learning_rate": 0.05}
    _, _, rates = fallen_after(model, [1] * 6, **options)
    np.testing.assert_allclose(rates, [1, 1, 0.3, 0.09, 0.05, 0.05, 0.05], rtol=1e-6)
    _, _, rates = fallen_after(model, [1] * 4, start=0.02, **options)
    # What lies below already is neither reduced nor raised.
    np.testing.assert_allclose(rates, [0.02] * 5, rtol=1e-6)


def test_a_line_for_each_reduction_if_asked_for(model, capsys):
    fallen_after(model, [1] * 5, patience=2)
    assert capsys.readouterr().out == ""
    fallen_after(model, [1] * 5, patience=2, verbose=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == 2
    assert "0.5" in lines[0]
    assert "0.25" in lines[1]


def test_a_second_fit_begins_anew_with_the_reduced_rate(model):
    plateau, rates = PerformanceScheduler(patience=2), Rates()
    model.optimizer.learning_rate = 1.0
    for start in (1.0, 0.5):
        # Worse than in the first fit, and no improvement on its best.
        feed = Feed("val_loss", [2 / start, 3, 1, 1, 1, 1])
        fit(model, [feed, plateau, rates], epochs=6, batches=1)
        expected = np.array([1, 1, 1, 1, 1, 0.5, 0.5]) * start
        np.testing.assert_allclose(rates.seen, expected)
    assert (plateau.best, plateau.wait, plateau.reductions) == (1, 1, 1)


def test_a_metric_that_does_not_exist_is_named(model):
    with pytest.raises(ValueError, match=r"loss[\s\S]*Received: monitor='val_los'"):
        fit(model, [PerformanceScheduler("val_los")], epochs=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factor", 0.0),
        ("factor", 1.0),
        ("factor", 2.0),
        ("factor", NAN),
        ("patience", 0),
        ("patience", 1.5),
        ("every", 0),
        ("every", "batch"),
        ("min_delta", -1e-4),
        ("min_delta", NAN),
        ("cooldown", -1),
        ("cooldown", 1.5),
        ("relative", "no"),
        ("restore_best", 1),
        ("min_learning_rate", -0.1),
        ("mode", "maximum"),
    ],
)
def test_bad_values_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name}[\s\S]*Received: {name}="):
        PerformanceScheduler(**{name: value})


# Which way is up


def named_top(y, y_hat):
    return ops.mean(y_hat)


UP = {
    "val_accuracy": ["accuracy"],
    "val_area": [keras.metrics.AUC(name="area")],
    "val_r2_score": [keras.metrics.R2Score()],
    "val_cosine_similarity": [keras.metrics.CosineSimilarity()],
    "val_f": [keras.metrics.BinaryIoU(name="f")],
}
DOWN = {
    "val_loss": [],
    "val_mae": ["mae"],
    "val_named_top": [named_top],
    "loss": ["accuracy"],
}


@pytest.mark.parametrize("monitor", [*UP, *DOWN])
def test_auto_knows_which_way_is_better(monitor):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid")])
    metrics = (UP | DOWN)[monitor]
    model.compile(keras.optimizers.SGD(1.0), "mse", metrics=metrics)
    fallen, _, _ = fallen_after(model, [0.1, 0.2, 0.3], monitor, patience=1)
    assert fallen == ([] if monitor in UP else [2, 3])


def test_auto_asks_the_metric_of_one_of_several_outputs():
    x = keras.Input((1,))
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = keras.Model(x, outputs)
    model.compile(
        keras.optimizers.SGD(1.0),
        {"a": "mse", "b": "mse"},
        metrics={"a": ["mae"], "b": [keras.metrics.R2Score()]},
    )
    plateau = PerformanceScheduler("val_b_r2_score", patience=1)
    feed = Feed("val_b_r2_score", [0.1, 0.2, 0.3])
    x, y = data(1)
    model.fit(x, {"a": y, "b": y}, epochs=3, verbose=0, callbacks=[feed, plateau])
    assert plateau.reductions == 0


# Every way of training, and every kind of rate

# With a patience of 1, the rate falls after the third and after the fourth epoch.
LOOKS = [1.0, 0.75, 0.75, 0.875, 0.5, 0.25]
FACTORS = np.repeat([1, 1, 1, 0.5, 0.25, 0.25], 2)
COSINE = CosineDecay(1.0, decay_steps=16, alpha=0.1)
MODES = {
    "default": {},
    "jit": {"jit_compile": True},
    "blocks": {"steps_per_execution": 2},
    "eager": {"run_eagerly": True},
}


def assert_falls(model, schedule=None, factors=FACTORS, **options):
    plateau = PerformanceScheduler(patience=1, **options)
    history = fit(model, [plateau], epochs=6, validation_data=data(1))
    own = np.ones(12) if schedule is None else schedule.values(range(12))
    np.testing.assert_allclose(rates_used(model), own * factors, rtol=1e-5)
    assert (plateau.best, plateau.wait, plateau.reductions) == (0.25, 0, 2)
    np.testing.assert_allclose(history.history["val_loss"], LOOKS, rtol=1e-6)
    return history


@pytest.mark.parametrize(
    ("make", "mode"),
    [*((SGD, mode) for mode in MODES), (keras.optimizers.SGD, "jit")],
)
def test_a_schedule_is_scaled_in_the_compiled_step(make, mode):
    model = tape_model(make(COSINE), LOOKS, 2, **MODES[mode])
    assert_falls(model, COSINE)
    scaled = model.optimizer.get_config()["learning_rate"]
    assert scaled["class_name"] == "Scaled"
    assert scaled["config"]["factor"] == 0.25


@pytest.mark.parametrize(
    ("make", "mode"), [(SGD, "blocks"), (keras.optimizers.SGD, "jit")]
)
def test_a_float_is_reduced(make, mode):
    model = tape_model(make(1.0), LOOKS, 2, **MODES[mode])
    history = assert_falls(model)
    assert float(model.optimizer.learning_rate) == 0.25
    np.testing.assert_allclose(history.history["learning_rate"], FACTORS[::2])


def test_a_model_fitted_before_has_its_schedule_scaled_too():
    model = tape_model(SGD(COSINE), [1.0] * 20, 2)
    fit(model, [], epochs=1)
    fit(model, [PerformanceScheduler(patience=2)], epochs=4, validation_data=data(1))
    # The rate stays reduced without the callback, and falls again with it.
    fit(model, [], epochs=1)
    fit(model, [PerformanceScheduler(patience=1)], epochs=3, validation_data=data(1))
    factors = np.repeat([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25], 2)
    expected = COSINE.values(range(18)) * factors
    np.testing.assert_allclose(rates_used(model), expected, rtol=1e-5)


def test_after_an_error_the_rate_stays_reduced_and_can_fall_again():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    model = tape_model(SGD(COSINE), [1.0] * 20, 2)
    plateau = PerformanceScheduler(patience=2)
    with contextlib.suppress(KeyboardInterrupt):
        fit(model, [plateau, Stop()], epochs=8, validation_data=data(1))
    fit(model, [], epochs=1)
    fit(model, [plateau], epochs=4, validation_data=data(1))
    factors = np.repeat([1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25], 2)
    expected = COSINE.values(range(18)) * factors
    np.testing.assert_allclose(rates_used(model), expected, rtol=1e-5)


def test_a_schedule_that_was_never_scaled_is_left_as_it_was():
    model = tape_model(SGD(COSINE), LOOKS, 2)
    before = model.optimizer.get_config()
    fit(model, [PerformanceScheduler()], epochs=6, validation_data=data(1))
    assert model.optimizer.get_config() == before
    np.testing.assert_allclose(rates_used(model), COSINE.values(range(12)), rtol=1e-6)


def test_on_two_replicas(two_replicas):
    with two_replicas.scope():
        model = tape_model(SGD(COSINE), LOOKS, 2)
    assert_falls(model, COSINE)


def test_under_a_loss_scale_in_float16():
    inner = SGD(COSINE)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0)
    model = tape_model(optimizer, LOOKS, 2, "mixed_float16")
    assert_falls(model, COSINE)


def test_in_accumulation_all_micro_batches_of_an_update_have_its_rate():
    model = tape_model(SGD(COSINE, gradient_accumulation_steps=2), LOOKS, 2)
    fit(model, [PerformanceScheduler(patience=1)], epochs=6, validation_data=data(1))
    expected = np.repeat(COSINE.values(range(6)) * FACTORS[::2], 2) / 2
    np.testing.assert_allclose(rates_used(model), expected, rtol=1e-5)


def test_the_least_rate_holds_under_a_schedule():
    slow = PowerDecay(1.0, decay_steps=1000)
    model = tape_model(SGD(slow), [1.0] * 6, 2)
    plateau = PerformanceScheduler(patience=1, factor=0.3, min_learning_rate=0.2)
    fit(model, [plateau], epochs=6, validation_data=data(1))
    rates = rates_used(model)[::2]
    np.testing.assert_allclose(rates[[0, 2]], [1, 0.3], rtol=0.01)
    np.testing.assert_allclose(rates[3:], 0.2, rtol=0.01)


def test_all_optimizers_of_a_multi_optimizer_are_reduced():
    first, second = SGD(1.0), Momentum(COSINE, 0.0)
    x = keras.Input((1,))
    both = keras.layers.Add()([keras.layers.Dense(1)(x), Tape([1.0], 2)(x)])
    model = keras.Model(x, both)
    each = keras.optimizers.OptimizerMap(first, {".*row": second})
    model.compile(keras.optimizers.MultiOptimizer(each), mean_output)
    fit(model, [Feed("val_loss", [1] * 4), PerformanceScheduler(patience=1)], epochs=4)
    (layer,) = [layer for layer in model.layers if isinstance(layer, Tape)]
    factors = np.repeat([1, 1, 0.5, 0.25], 2)
    expected = COSINE.values(range(8)) * factors
    np.testing.assert_allclose(-layer.row.numpy()[:8], expected, rtol=1e-5)
    assert float(first.learning_rate) == 0.125


# The best weights


@pytest.mark.parametrize("restore_best", [True, False])
def test_a_reduction_goes_back_to_the_best_weights_if_asked_for(restore_best):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), mean_output)
    ends = []

    class Ends(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            ends.append(self.model.get_weights()[1].item())

    values = [1.0, 0.5, 0.7, 0.9, 0.8, 0.6, 0.4, 0.5]
    plateau = PerformanceScheduler(patience=2, restore_best=restore_best)
    fit(model, [Feed("val_loss", values), plateau, Ends()], epochs=8, batches=1)
    # The bias falls by the rate each time, from the best -1 after a reduction.
    kept = [-0.5, -1.0, -1.5, -2.0, -2.25, -2.5, -2.625, -2.75]
    back = [-0.5, -1.0, -1.5, -1.0, -1.25, -1.0, -1.125, -1.25]
    np.testing.assert_allclose(ends, back if restore_best else kept)


# Within an epoch


@pytest.mark.parametrize(
    ("every", "batches", "options", "looks"),
    [
        (2, 6, {}, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]),
        (6, 6, {}, [6, 12, 18, 24]),
        (8, 6, {}, [8, 16, 24]),
        (1, 3, {}, list(range(1, 13))),
        (6, 6, {"steps_per_execution": 3}, [6, 12, 18, 24]),
        # The last block of an epoch has two batches, and a look waits for its end.
        (8, 6, {"steps_per_execution": 4}, [10, 16, 24]),
    ],
)
def test_the_data_are_looked_at_every_so_many_batches(every, batches, options, looks):
    model = tape_model(SGD(COSINE), [1.0], 1, **options)
    plateau = PerformanceScheduler(
        every=every, validation_data=data(1), patience=2, factor=0.75
    )
    fit(model, [plateau], epochs=4, batches=batches)
    total = 4 * batches
    falls = looks[2::2]
    powers = [sum(step >= fall for fall in falls) for step in range(total)]
    expected = COSINE.values(range(total)) * 0.75 ** np.array(powers)
    np.testing.assert_allclose(rates_used(model), expected, rtol=1e-5)
    assert plateau.reductions == len(falls)


def stochastic():
    keras.utils.set_random_seed(3)
    x = keras.Input((3,))
    y = keras.layers.Dense(4)(x)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.Dropout(0.5, seed=1)(y)
    model = keras.Model(x, keras.layers.Dense(1)(y))
    model.compile(
        keras.optimizers.Adam(0.1), "mse", metrics=["mae", keras.metrics.R2Score()]
    )
    return model


def test_a_look_leaves_no_trace_in_metrics_weights_or_draws():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)), rng.normal(size=(24, 1))
    held = tf.data.Dataset.from_tensor_slices((x[:8] + 5, y[:8] - 9)).batch(4)
    found = []
    for callbacks in (
        [],
        [PerformanceScheduler(every=2, validation_data=held, patience=99)],
    ):
        model = stochastic()
        history = model.fit(
            x,
            y,
            batch_size=4,
            epochs=2,
            shuffle=False,
            verbose=0,
            validation_data=(x, y),
            callbacks=callbacks,
        )
        history.history.pop("learning_rate", None)
        found.append((history.history, model.get_weights()))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[0][0]["mae"][1] != found[0][0]["mae"][0]


class Held(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return np.full((2, 1), 1.0 + index), np.zeros((2, 1)), np.full(2, index)


@pytest.mark.parametrize(
    ("held", "best"),
    [
        ((np.array([[1.0], [2.0]]), np.zeros((2, 1))), 2.5),
        ((np.array([[1.0], [2.0]]), np.zeros((2, 1)), np.array([0.0, 1.0])), 2.0),
        (Held(), 2.0),
    ],
    ids=["x, y", "with weights", "PyDataset"],
)
def test_every_kind_of_validation_data(held, best):
    """Squares of 1 and 4, of which the weights drop the first."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    plateau = PerformanceScheduler(every=2, validation_data=held, patience=1)
    fit(model, [plateau], epochs=2)
    assert plateau.best == pytest.approx(best)
    assert plateau.reductions == 1
