"""`PerformanceScheduler`: when it reduces the rate, by which metric, and how far."""

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import PerformanceScheduler
from tests.callbacks.harness import Report, fit, mean_output, tape_data
from tests.callbacks.test_plateau import PATIENCE, reductions

NAN = float("nan")


class Rates(keras.callbacks.Callback):
    """The rate with which each epoch begins, and that after the last."""

    def on_train_begin(self, logs=None):
        self.values = []

    def on_epoch_begin(self, epoch, logs=None):
        self.values.append(float(self.model.optimizer.learning_rate))

    def on_train_end(self, logs=None):
        self.on_epoch_begin(None)


@pytest.fixture(scope="module")
def model():
    """Trains one batch an epoch, and is traced once for all sequences."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return model


def scheduled(model, values, monitor="val_loss", start=1.0, **options):
    """Trains an epoch for each value of a metric; returns the callback and rates."""
    plateau = PerformanceScheduler(monitor, **{"min_delta": 0.0} | options)
    rates = Rates()
    model.optimizer.learning_rate = start
    callbacks = [Report(monitor, values), plateau, rates]
    fit(model, tape_data(1), callbacks, epochs=len(values))
    return plateau, np.array(rates.values)


def reduced_after(rates):
    """The epochs, counted from 1, after which the rate was lower."""
    return (np.flatnonzero(np.diff(rates) < 0) + 1).tolist()


def test_the_documented_example(model):
    plateau, rates = scheduled(model, [1.0, 0.9, 0.9, 0.9], patience=2)
    assert reduced_after(rates) == [4]
    assert plateau.reductions == 1


def test_a_reduction_by_default_takes_five_evaluations(model):
    _, rates = scheduled(model, [1, 2, 3, 4, 5, 6, 7])
    assert reduced_after(rates) == [6]


@pytest.mark.parametrize("case", ["cooldown", "NaN first", "maximum with min_delta"])
def test_the_rate_is_reduced_where_a_plateau_is_reached(model, case):
    options, values, expected = PATIENCE[case]
    plateau, rates = scheduled(model, values, **options)
    assert reduced_after(rates) == expected
    assert plateau.reductions == len(expected)


@pytest.mark.parametrize("seed", range(4))
def test_random_sequences_with_every_option(model, seed):
    rng = np.random.default_rng(seed)
    values = rng.choice(np.arange(-8, 9) / 4, size=20).tolist()
    options = {
        "patience": int(rng.integers(1, 4)),
        "cooldown": int(rng.integers(0, 4)),
        "min_delta": 0.3,
        "relative": bool(seed % 2),
        "mode": ["min", "max"][seed // 2],
    }
    plateau, rates = scheduled(model, values, **options)
    expected, state = reductions(values, **options)
    assert reduced_after(rates) == expected
    assert (plateau.best, plateau.wait) == (state.best, state.wait)


def test_the_rate_is_multiplied_by_the_factor_down_to_the_minimum(model):
    options = {"patience": 1, "factor": 0.3, "min_learning_rate": 0.05}
    _, rates = scheduled(model, [1] * 6, **options)
    np.testing.assert_allclose(rates, [1, 1, 0.3, 0.09, 0.05, 0.05, 0.05], rtol=1e-6)
    _, rates = scheduled(model, [1] * 4, start=0.02, **options)
    # A rate that is already lower is neither reduced nor raised.
    np.testing.assert_allclose(rates, [0.02] * 5, rtol=1e-6)


def test_a_line_for_each_reduction_if_asked_for(model, capsys):
    scheduled(model, [1] * 5, patience=2)
    assert capsys.readouterr().out == ""
    scheduled(model, [1] * 5, patience=2, verbose=1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert len(lines) == 2
    assert "0.5" in lines[0]
    assert "0.25" in lines[1]


def test_a_second_fit_starts_again_with_the_reduced_rate(model):
    plateau, rates = PerformanceScheduler(patience=2), Rates()
    model.optimizer.learning_rate = 1.0
    for start in (1.0, 0.5):
        # Worse than in the first fit, and no improvement on its best.
        report = Report("val_loss", [2 / start, 3, 1, 1, 1, 1])
        fit(model, tape_data(1), [report, plateau, rates], epochs=6)
        expected = np.array([1, 1, 1, 1, 1, 0.5, 0.5]) * start
        np.testing.assert_allclose(rates.values, expected)
    assert (plateau.best, plateau.wait, plateau.reductions) == (1, 1, 1)


def test_a_metric_that_does_not_exist_is_named(model):
    plateau = PerformanceScheduler("val_los", patience=1)
    with pytest.warns(UserWarning, match=r"'val_los', which epoch 1 does .* 'loss'"):
        fit(model, tape_data(2), plateau, epochs=3)
    assert plateau.reductions == 0


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


# Whether a metric should rise


def named_top(y, y_hat):
    return keras.ops.mean(y_hat)


RISING = {
    "val_accuracy": ["accuracy"],
    "val_area": [keras.metrics.AUC(name="area")],
    "val_r2_score": [keras.metrics.R2Score()],
    "val_cosine_similarity": [keras.metrics.CosineSimilarity()],
    "val_f": [keras.metrics.BinaryIoU(name="f")],
}
FALLING = {
    "val_loss": [],
    "val_mae": ["mae"],
    "val_named_top": [named_top],
    "loss": ["accuracy"],
}


@pytest.mark.parametrize("monitor", [*RISING, *FALLING])
def test_auto_asks_the_metric_or_goes_by_its_name(monitor):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid")])
    metrics = (RISING | FALLING)[monitor]
    model.compile(keras.optimizers.SGD(1.0), "mse", metrics=metrics)
    _, rates = scheduled(model, [0.1, 0.2, 0.3], monitor, patience=1)
    assert reduced_after(rates) == ([] if monitor in RISING else [2, 3])


def test_auto_asks_the_metric_of_one_of_several_outputs():
    x = keras.Input((1,))
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = keras.Model(x, outputs)
    model.compile(
        keras.optimizers.SGD(1.0),
        {"a": "mse", "b": "mse"},
        metrics={"a": ["mae"], "b": [keras.metrics.R2Score()]},
    )
    x, y = tape_data(1)
    data = x, {"a": y, "b": y}
    plateau = PerformanceScheduler("val_b_r2_score", patience=1)
    fit(model, data, [Report("val_b_r2_score", [0.1, 0.2, 0.3]), plateau], epochs=3)
    assert plateau.reductions == 0


# The best weights


@pytest.mark.parametrize("restore_best", [True, False])
def test_a_reduction_returns_to_the_best_weights_if_asked_for(restore_best):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), mean_output)
    biases = []

    class Bias(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            biases.append(self.model.get_weights()[1].item())

    values = [1.0, 0.5, 0.7, 0.9, 0.8, 0.6, 0.4, 0.5]
    plateau = PerformanceScheduler(patience=2, restore_best=restore_best)
    fit(model, tape_data(1), [Report("val_loss", values), plateau, Bias()], epochs=8)
    # The bias falls by the rate each time, from the best -1 after a reduction.
    kept = [-0.5, -1.0, -1.5, -2.0, -2.25, -2.5, -2.625, -2.75]
    back = [-0.5, -1.0, -1.5, -1.0, -1.25, -1.0, -1.125, -1.25]
    np.testing.assert_allclose(biases, back if restore_best else kept)
