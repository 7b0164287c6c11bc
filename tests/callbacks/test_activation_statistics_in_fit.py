"""When `ActivationStatistics` takes its snapshots, and that it changes nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import ActivationStatistics, GradientNorms, MaxNorm
from keras_dnn.layers import MCDropout
from tests.callbacks.activation_replay import (
    assert_recorded,
    convolutional,
    data,
    statistics_of,
)
from tests.callbacks.harness import (
    PlannedError,
    Raise,
    alone_and_together,
    dtype_policy,
    fit,
    leftovers,
    slow,
    state,
)

pytestmark = pytest.mark.as_in_keras

layers = keras.layers


@pytest.mark.parametrize(
    ("every", "block", "expected"),
    [
        ("epoch", 1, [0, 5, 10]),
        (1, 1, list(range(11))),
        (2, 1, [0, 2, 4, 6, 8, 10]),
        (3, 1, [0, 3, 6, 9]),
        (4, 3, [0, 5, 8]),  # blocks end at 3, 5, 8 and 10
        (100, 1, [0]),
    ],
)
def test_when_it_takes_a_snapshot(every, block, expected):
    x, y = data(samples=18)
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.compile("sgd", "mse", steps_per_execution=block)
    probe = ActivationStatistics(x, every=every)
    fit(model, (x, y), [probe], epochs=2)
    assert probe.steps.tolist() == expected
    assert np.isfinite(probe.means).all()


def test_fit_again_adds_and_another_model_starts_a_new_record():
    x, y = data()
    probe = ActivationStatistics(x)
    models = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
        model.compile("sgd", "mse")
        models.append(model)
    fit(models[0], (x, y), [probe])
    fit(models[0], (x, y), [probe])
    assert probe.steps.tolist() == [0, 4, 8]
    fit(models[1], (x, y), [probe])
    assert probe.steps.tolist() == [0, 4]


@pytest.mark.parametrize("kind", ["array", "pair", "dataset", "sequence"])
def test_every_kind_of_data(kind):
    x, y = data()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[8 * index : 8 * index + 8], y[8 * index : 8 * index + 8]

    given = {
        "array": x[:8],
        "pair": (x[:8], y[:8]),
        "dataset": tf.data.Dataset.from_tensor_slices((x, y)).batch(8),
        "sequence": Batches(),
    }[kind]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    probe = ActivationStatistics(given)
    fit(model, (x, y), [probe])
    assert_recorded(probe, -1, [model(x[:8])])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, y = data()
    keras.utils.set_random_seed(1)
    with dtype_policy(policy):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu")])
    model.compile("adam", "mse")
    probe = ActivationStatistics(x)
    fit(model, (x, np.tile(y, 3)[:, :5]), [probe])
    mean, std, dead, _ = statistics_of(keras.ops.cast(model(x), "float64"))
    # What is compiled may round each output once more or once less.
    np.testing.assert_allclose(probe.means[-1, 0], mean, rtol=1e-2)
    np.testing.assert_allclose(probe.stds[-1, 0], std, rtol=1e-2)
    assert probe.dead[-1, 0] == dead
    assert probe.histograms[-1, 0].sum() == 16 * 5


def test_two_replicas_and_other_probes(two_replicas):
    x, y = data()

    def run():
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, "relu"),
                layers.BatchNormalization(synchronized=True),
                layers.Dense(2),
            ]
        )
        model.compile("sgd", "mse")
        probe = ActivationStatistics(x)
        fit(model, (x, y), [GradientNorms(), probe, MaxNorm(1.0)], epochs=2)
        return probe

    alone, together = alone_and_together(two_replicas, run)
    np.testing.assert_array_equal(together.steps, alone.steps)
    np.testing.assert_allclose(together.stds, alone.stds, rtol=1e-4)
    np.testing.assert_allclose(together.means, alone.means, rtol=1e-3, atol=1e-5)


# What it leaves


def trained(probes, **options):
    x, y = data((6, 6, 2))
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.GaussianNoise(0.1),
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            MCDropout(0.3),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(2, activity_regularizer="l2"),
        ]
    )
    model.compile("adam", "mse", **options)
    history = fit(model, (x, y), probes(x), epochs=2, validation_data=(x, y)).history
    after = keras.ops.convert_to_numpy(model(x, training=True))
    return model, history, state(model), after


@pytest.mark.parametrize("options", [{}, slow({"jit_compile": True})])
def test_training_is_the_same_to_the_last_bit(options):
    _, history, end, after = trained(lambda x: [], **options)
    model, with_probe, other, later = trained(
        lambda x: [ActivationStatistics(x, every=1)], **options
    )
    assert history == with_probe
    for one, two in zip(end, other, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(after, later)
    assert leftovers(model) == []
    assert not any("call" in vars(layer) for layer in model.layers)


@pytest.mark.parametrize("wrong", ["shape", "exception"])
def test_an_error_leaves_nothing_behind(wrong):
    x, y = data()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.compile("sgd", "mse")

    probe = ActivationStatistics(x[:, :3] if wrong == "shape" else x)
    with pytest.raises((ValueError, PlannedError)):
        fit(model, (x, y), [probe, Raise(step=0)])
    assert not any("call" in vars(layer) for layer in model.layers)
    fit(model, (x, y), [ActivationStatistics(x)])


def test_one_trace_serves_all_snapshots_of_a_fit():
    x, y = data()
    traces = []

    class Counts(layers.Layer):
        def call(self, inputs, training=None):
            if training is False:
                traces.append(1)
            return inputs + 0.0

    model = keras.Sequential([keras.Input((6,)), Counts(), layers.Dense(2)])
    model.compile("sgd", "mse")
    traces.clear()
    fit(model, (x, y), [ActivationStatistics(x, every=1)], epochs=3)
    assert len(traces) == 1


# Arguments and figure


@pytest.mark.parametrize("every", [0, -1, 1.5, "step", None])
def test_every_must_be_epoch_or_a_count(every):
    with pytest.raises(ValueError, match=r"every must be.*Received: every="):
        ActivationStatistics(np.ones((2, 2)), every=every)


def test_the_figure_shows_the_record():
    pytest.importorskip("matplotlib")
    x, y = data((6, 6, 2))
    model = convolutional()
    model.compile("adam", "mse")
    probe = ActivationStatistics(x)
    with pytest.raises(ValueError, match="nothing to plot"):
        probe.plot()
    fit(model, (x, y), [probe], epochs=2)
    figure = probe.plot()
    means, units, *histograms = figure.axes
    drawn = means.containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, probe.means[-1])
    heights = [bar.get_height() for bar in units.containers[0]]
    np.testing.assert_allclose(heights, 100 * probe.dead[-1])
    shown = [ax for ax in histograms if ax.get_visible() and ax.images]
    assert len(shown) == len(probe.names)
    image = shown[0].images[0].get_array()
    np.testing.assert_allclose((image**2).sum(axis=0), 1.0)
