"""`GradientNorms` on long runs, in files, as histograms, with several optimizers."""

import csv
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from keras_dnn.optimizers import Adam
from tests.callbacks.gradient_replay import (
    adam,
    batches,
    data,
    fit,
    in_float64,  # noqa: F401
    nesterov,
    network,
    parts,
    refit,
    replay,
    sgd,
    slow,
    traces_of_ours,
)

# A limit


def limited(limit, epochs, **options):
    """A probe with a limit beside one without; ten updates an epoch."""
    x, y = data()
    short, whole = GradientNorms(limit=limit, **options), GradientNorms(**options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(network(), nesterov(), x, y, [short, whole], epochs=epochs)
    told = [str(w.message) for w in caught if "GradientNorms" in str(w.message)]
    return short, whole, history.history, told


@pytest.mark.parametrize(
    ("limit", "epochs", "every", "apart"),
    [(10, 3, 1, 4), (30, 3, 1, 1), (29, 3, 1, 2), (1, 2, 1, 32), (4, 3, 3, 12)],
)
def test_beyond_the_limit_steps_are_kept_evenly(limit, epochs, every, apart):
    short, whole, _, told = limited(limit, epochs, every=every)
    kept = whole.steps % apart == 0
    assert 1 <= len(short.steps) <= limit
    for field in ("steps", "norms", "clipped_norms", "ratios", "global_norms"):
        np.testing.assert_array_equal(
            getattr(short, field), getattr(whole, field)[kept], err_msg=field
        )
    assert bool(told) == (apart > every)
    if told:
        assert f"limit of {limit} steps" in told[-1]
        assert f"one in {apart}" in told[-1]


def test_history_is_of_every_step_whatever_the_limit():
    short, whole, history, _ = limited(4, 3)
    by_epoch = whole.global_norms.reshape(3, 10)
    np.testing.assert_allclose(history["gradient_norm"], by_epoch.mean(1), rtol=1e-12)
    np.testing.assert_array_equal(history["gradient_norm_max"], by_epoch.max(1))
    np.testing.assert_allclose(
        history["update_ratio"], whole.global_ratios.reshape(3, 10).mean(1), rtol=1e-12
    )
    assert len(short.steps) <= 4


@pytest.mark.slow
def test_rows_that_nobody_reads_do_not_pile_up():
    x, y = data(samples=10_000)
    probe = GradientNorms(limit=50)
    pieces = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pieces.append(sum(len(r.steps) for r in probe._history._pieces))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(
            network(),
            sgd(),
            x,
            y,
            [probe, Look()],
            batch_size=1,
            steps_per_epoch=None,
        )
    assert max(pieces) < 9_000
    assert len(probe.steps) <= 50


# A CSV file


def test_the_csv_file_has_a_row_for_each_step(tmp_path):
    path = tmp_path / "norms.csv"
    x, y = data()
    probe = GradientNorms(csv_path=str(path), limit=3)
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = GradientNorms()
        fit(model, nesterov(clipnorm=0.8), x, y, [probe, whole], epochs=2)
        refit(model, x, y, [probe, whole])
    with path.open() as file:
        header, *rows = csv.reader(file)
    table = np.array(rows, float)
    assert len(table) == 30
    columns = {
        "step": whole.steps,
        "gradient_norm": whole.global_norms,
        "clipped_gradient_norm": whole.global_clipped_norms,
        "update_ratio": whole.global_ratios,
    }
    for i, name in enumerate(whole.names):
        columns[f"gradient_norm/{name}"] = whole.norms[:, i]
        columns[f"clipped_gradient_norm/{name}"] = whole.clipped_norms[:, i]
        columns[f"update_ratio/{name}"] = whole.ratios[:, i]
    assert sorted(header) == sorted(columns)
    for name, column in zip(header, table.T, strict=True):
        np.testing.assert_array_equal(column, columns[name], err_msg=name)


def test_another_model_begins_the_csv_file_anew(tmp_path):
    path = tmp_path / "norms.csv"
    x, y = data()
    probe = GradientNorms(csv_path=str(path), ratios=False)
    for _ in range(2):
        fit(network(), sgd(), x, y, probe)
    lines = path.read_text().splitlines()
    assert len(lines) == 11
    assert "update_ratio" not in lines[0]


# Histograms


def gradients_of(model, x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(y - model(x, training=True)))
    return [g.numpy() for g in tape.gradient(loss, [w.value for w in model.weights])]


@pytest.mark.parametrize(
    "options", [{}, slow({"jit_compile": True}), {"steps_per_execution": 4}]
)
@pytest.mark.parametrize("every", [1, 3])
def test_histograms_count_the_gradients_of_their_steps(every, options):
    x, y = data()
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    probe = GradientNorms(histograms=every)
    fit(model, keras.optimizers.SGD(0.1, clipnorm=0.5), x, y, probe, **options)
    steps = np.arange(10)[::every]
    np.testing.assert_array_equal(probe.histogram_steps, steps)
    optimizer = keras.optimizers.SGD(0.1, clipnorm=0.5)
    row = 0
    for step, (x_batch, y_batch) in enumerate(batches(x, y)):
        gradients = gradients_of(twin, x_batch, y_batch)
        if step in steps:
            for i, g in enumerate(gradients):
                edges = probe.histogram_edges[row, i]
                np.testing.assert_allclose(
                    edges, np.linspace(g.min(), g.max(), 65), rtol=1e-9, atol=1e-14
                )
                # Rounding may move what lies on an edge.
                inside = np.clip(g, edges[0], edges[-1])
                expected, _ = np.histogram(inside, edges)
                counts = probe.histograms[row, i]
                assert counts.sum() == g.size
                cumulated = np.cumsum(counts) - np.cumsum(expected)
                assert np.abs(cumulated).max() <= 1
            row += 1
        optimizer.apply([tf.constant(g) for g in gradients], twin.weights)


def test_histograms_under_accumulation_are_of_the_mean_gradient():
    x, y = data(samples=16)
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    probe = GradientNorms(histograms=1)
    fit(model, adam(gradient_accumulation_steps=4), x, y, probe)
    assert probe.histogram_steps.tolist() == [0]
    mean = gradients_of(twin, x, y)
    for i, g in enumerate(mean):
        ends = probe.histogram_edges[0, i][[0, -1]]
        np.testing.assert_allclose(ends, [g.min(), g.max()], rtol=1e-9)


def test_histograms_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator

    x, y = data()
    probe = GradientNorms(histograms=5, log_dir=str(tmp_path))
    fit(network(), sgd(), x, y, probe)
    events = event_accumulator.EventAccumulator(
        str(tmp_path), size_guidance={"tensors": 0}
    )
    events.Reload()
    for i, name in enumerate(probe.names):
        found = events.Tensors(f"gradient/{name}")
        assert [event.step for event in found] == [0, 5]
        last = tf.make_ndarray(found[-1].tensor_proto)
        np.testing.assert_array_equal(last[:, 2], probe.histograms[-1, i])
        np.testing.assert_array_equal(last[:, 0], probe.histogram_edges[-1, i, :-1])
        np.testing.assert_array_equal(last[:, 1], probe.histogram_edges[-1, i, 1:])


def test_without_histograms_there_are_none():
    probe = GradientNorms()
    assert probe.histograms is None
    assert probe.histogram_steps is None


@pytest.mark.parametrize("name", ["histograms", "limit"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2"])
def test_counts_must_be_positive_integers(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be.*Received: {name}="):
        GradientNorms(**{name: value})


# Several optimizers


def several(kernels, biases):
    each = keras.optimizers.OptimizerMap(biases, {".*kernel": kernels})
    return keras.optimizers.MultiOptimizer(each)


@pytest.mark.parametrize(
    "options", [{}, slow({"jit_compile": True}), slow({"steps_per_execution": 4})]
)
def test_with_a_multi_optimizer_each_variable_has_its_norms(options):
    x, y = data()
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    probe = GradientNorms()
    fit(
        model,
        several(Adam(0.02, clipnorm=0.3), sgd(clipvalue=0.1)),
        x,
        y,
        probe,
        **options,
    )
    alone = several(keras.optimizers.Adam(0.02, clipnorm=0.3), sgd(clipvalue=0.1))
    truth = replay(twin, alone, batches(x, y))
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)
    np.testing.assert_array_equal(probe.steps, np.arange(10))
    kernels = ["kernel" in name for name in probe.names]
    np.testing.assert_allclose(
        probe.clipped_norms[:, kernels],
        np.minimum(truth.norms[:, kernels], 0.3),
        rtol=1e-9,
    )
    assert (probe.clipped_norms < truth.norms - 1e-9).any(axis=0).sum() >= 3


def test_a_multi_optimizer_chosen_by_a_function():
    kernels, biases = Adam(0.02), sgd()

    def choose(variable):
        return kernels if "kernel" in variable.path else biases

    x, y = data()
    model, twin = network(), network()
    twin.set_weights(model.get_weights())
    probe = GradientNorms()
    fit(model, keras.optimizers.MultiOptimizer(choose), x, y, probe)
    alone = several(keras.optimizers.Adam(0.02), sgd())
    truth = replay(twin, alone, batches(x, y))
    np.testing.assert_allclose(probe.norms, truth.norms, rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios, rtol=1e-9)


def test_nothing_is_left_on_a_multi_optimizer():
    x, y = data()
    model, bare = network(), network()
    bare.set_weights(model.get_weights())
    fit(model, several(Adam(0.02), sgd()), x, y, GradientNorms())
    assert traces_of_ours(*parts(model), *model.optimizer.optimizers) == []
    refit(model, x, y)
    fit(bare, several(Adam(0.02), sgd()), x, y, [])
    refit(bare, x, y)
    for one, other in zip(model.weights, bare.weights, strict=True):
        np.testing.assert_array_equal(one, other)
