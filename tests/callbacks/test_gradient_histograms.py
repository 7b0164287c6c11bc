"""The histograms of `GradientNorms` against NumPy's."""

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
    train(model, keras.optimizers.SGD(0.1, clipnorm=0.5), x, y, probe, **options)
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
    train(model, adam(gradient_accumulation_steps=4), x, y, probe)
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
    train(network(), sgd(), x, y, probe)
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
