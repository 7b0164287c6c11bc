"""The record of `GradientNorms`: in `History`, over several `fit`, over long runs."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from tests.callbacks.gradient_replay import (  # noqa: F401
    BATCH,
    CLIPS,
    MODES,
    OPTIMIZERS,
    OPTIONS,
    Subclassed,
    adam,
    assert_recorded,
    batches,
    data,
    dense,
    fit_again,
    in_float64,
    mixed_float16,
    nesterov,
    network,
    replay,
    several,
    sgd,
    train,
)
from tests.callbacks.harness import slow

# History


@pytest.mark.parametrize("compile_options", [{}, slow({"steps_per_execution": 4})])
@pytest.mark.parametrize("per_variable", [True, slow(False)])
def test_history_summarises_each_epoch(per_variable, compile_options):
    x, y = data()
    probe = GradientNorms(per_variable=per_variable)
    history = train(
        network(),
        sgd(clipnorm=0.8),
        x,
        y,
        probe,
        epochs=3,
        validation_data=(x, y),
        **compile_options,
    ).history
    norms = probe.global_norms.reshape(3, 10)
    ratios = probe.global_ratios.reshape(3, 10)
    np.testing.assert_allclose(history["gradient_norm"], norms.mean(axis=1))
    np.testing.assert_allclose(history["gradient_norm_max"], norms.max(axis=1))
    np.testing.assert_allclose(history["update_ratio"], ratios.mean(axis=1))
    assert [len(values) for values in history.values()] == [3] * 5


def test_history_holds_plain_numbers_for_other_callbacks():
    x, y = data()
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))

    train(network(), sgd(), x, y, [GradientNorms(), Reader()])
    assert all(type(value) is float for value in seen[0].values())
    assert {"gradient_norm", "gradient_norm_max", "update_ratio"} <= set(seen[0])


def test_an_epoch_without_a_recorded_update_has_nan_in_history():
    """Every key has as many entries as there are epochs."""
    x, y = data()
    probe = GradientNorms(every=15)
    history = train(network(), sgd(), x, y, probe, epochs=3).history
    np.testing.assert_array_equal(probe.steps, [0, 15])
    assert np.isnan(history["gradient_norm"]).tolist() == [False, False, True]
    assert np.isnan(history["gradient_norm_max"]).tolist() == [False, False, True]
    assert np.isnan(history["update_ratio"]).tolist() == [False, False, True]


@pytest.mark.slow
def test_early_stopping_can_monitor_the_gradient_norm():
    x, y = data()
    stop = keras.callbacks.EarlyStopping("gradient_norm", min_delta=1e9, mode="min")
    history = train(network(), sgd(), x, y, [GradientNorms(), stop], epochs=5).history
    assert len(history["loss"]) == 2


# Long epochs


@pytest.mark.parametrize(
    ("block", "every"),
    [(1, 1), slow(7, 1), slow(7, 2), slow(256, 1), (300, 1), slow(500, 2)],
)
def test_nothing_is_lost_in_a_long_epoch(block, every):
    """Each step has its own gradient, 1, 2, 3, ..., so none can be missed."""
    x = np.arange(1, 701, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    probe = GradientNorms(every=every)
    train(
        model,
        keras.optimizers.SGD(0.0),
        x,
        x,
        probe,
        batch_size=1,
        loss=lambda y, y_hat: y_hat,
        steps_per_execution=block,
    )
    steps = np.arange(0, 700, every)
    np.testing.assert_array_equal(probe.steps, steps)
    np.testing.assert_array_equal(probe.norms[:, 0], steps + 1.0)
    np.testing.assert_array_equal(probe.global_norms, steps + 1.0)


def test_data_of_unknown_length_adds_no_rows():
    """The end of such data comes as an error within the step."""
    x, y = data()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)
    dataset = dataset.filter(lambda x, y: True)
    probe = GradientNorms()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        train(network(), sgd(), dataset, None, probe, batch_size=None, epochs=3)
    truth = replay(network(), sgd(), batches(x, y) * 3)
    assert np.all(np.diff(probe.steps) > 0)
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)


@pytest.mark.slow
def test_arrays_are_up_to_date_at_each_epochs_end():
    x, y = data()
    seen = []
    probe = GradientNorms()
    read = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(probe.norms))
    )
    train(network(), sgd(), x, y, [probe, read], epochs=3)
    assert seen == [10, 20, 30]


# The limit


def limited(limit, epochs, **options):
    """A probe with a limit beside one without; ten updates an epoch."""
    x, y = data()
    short, whole = GradientNorms(limit=limit, **options), GradientNorms(**options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = train(network(), nesterov(), x, y, [short, whole], epochs=epochs)
    warned = [str(w.message) for w in caught if "GradientNorms" in str(w.message)]
    return short, whole, history.history, warned


@pytest.mark.parametrize(
    ("limit", "epochs", "every", "apart"),
    [(10, 3, 1, 4), (30, 3, 1, 1), (29, 3, 1, 2), (1, 2, 1, 32), (4, 3, 3, 12)],
)
def test_beyond_the_limit_steps_are_kept_evenly(limit, epochs, every, apart):
    short, whole, _, warned = limited(limit, epochs, every=every)
    kept = whole.steps % apart == 0
    assert 1 <= len(short.steps) <= limit
    for field in ("steps", "norms", "clipped_norms", "ratios", "global_norms"):
        np.testing.assert_array_equal(
            getattr(short, field), getattr(whole, field)[kept], err_msg=field
        )
    assert bool(warned) == (apart > every)
    if warned:
        assert f"limit of {limit} steps" in warned[-1]
        assert f"one in {apart}" in warned[-1]


def test_history_counts_every_step_whatever_the_limit():
    short, whole, history, _ = limited(4, 3)
    by_epoch = whole.global_norms.reshape(3, 10)
    np.testing.assert_allclose(history["gradient_norm"], by_epoch.mean(1), rtol=1e-12)
    np.testing.assert_array_equal(history["gradient_norm_max"], by_epoch.max(1))
    np.testing.assert_allclose(
        history["update_ratio"], whole.global_ratios.reshape(3, 10).mean(1), rtol=1e-12
    )
    assert len(short.steps) <= 4


@pytest.mark.slow
def test_rows_that_are_not_read_do_not_pile_up():
    x, y = data(samples=10_000)
    probe = GradientNorms(limit=50)
    pieces = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pieces.append(sum(len(r.steps) for r in probe._history._pieces))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(
            network(),
            sgd(),
            x,
            y,
            [probe, Count()],
            batch_size=1,
            steps_per_epoch=None,
        )
    assert max(pieces) < 9_000
    assert len(probe.steps) <= 50


# Several calls of `fit`


def test_a_model_fitted_before():
    x, y = data()
    model, twin = network(), network()
    probe = GradientNorms()
    train(model, sgd(), x, y, [])
    fit_again(model, x, y, probe)
    truth = replay(twin, sgd(), batches(x, y) * 2)
    np.testing.assert_array_equal(probe.steps, np.arange(10, 20))
    np.testing.assert_allclose(probe.norms, truth.norms[10:], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[10:], rtol=1e-9)


@pytest.mark.parametrize("clips", [slow({}), {"clipnorm": 0.8}])
def test_fit_again_adds_to_the_record(clips):
    x, y = data()
    model = network()
    probe = GradientNorms()
    train(model, sgd(**clips), x, y, probe)
    fit_again(model, x, y)
    fit_again(model, x, y, probe)
    truth = replay(network(), sgd(), batches(x, y) * 3, clips=clips)
    seen = np.r_[0:10, 20:30]
    np.testing.assert_array_equal(probe.steps, seen)
    for field, expected in truth._asdict().items():
        np.testing.assert_allclose(
            getattr(probe, field), expected[seen], rtol=1e-9, err_msg=field
        )


@pytest.mark.slow
def test_fit_again_reports_only_its_own_epochs():
    x, y = data()
    model = network()
    probe = GradientNorms()
    train(model, sgd(), x, y, probe)
    history = fit_again(model, x, y, probe).history
    np.testing.assert_allclose(
        history["gradient_norm"], [probe.global_norms[10:].mean()]
    )


def test_another_optimizer_starts_a_new_record():
    x, y = data()
    model = network()
    probe = GradientNorms()
    train(model, sgd(), x, y, probe)
    weights = model.get_weights()
    train(model, adam(), x, y, probe)
    twin = network()
    twin.set_weights(weights)
    assert_recorded(probe, replay(twin, adam(), batches(x, y)))


@pytest.mark.slow
def test_another_model_starts_a_new_record():
    x, y = data()
    probe = GradientNorms()
    train(network(), sgd(), x, y, probe)
    train(Subclassed(), sgd(), x, y, probe)
    twin = Subclassed()
    twin(x[:1])
    assert_recorded(probe, replay(twin, sgd(), batches(x, y)))


@pytest.mark.slow
def test_freezing_a_layer_and_recompiling():
    x, y = data()
    model = network()
    probe = GradientNorms()
    train(model, sgd(), x, y, probe)
    model.layers[0].trainable = False
    train(model, sgd(), x, y, probe)
    assert probe.norms.shape == (10, 2)
    assert list(probe.names) == [w.path for w in model.layers[1].weights]
