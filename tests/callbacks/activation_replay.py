"""The statistics of a layer's outputs in NumPy, and models to try them on."""

import keras
import numpy as np

from tests.callbacks.harness import regression

layers = keras.layers


def data(shape=(6,), samples=16, outputs=2):
    return regression(samples, shape, outputs)


def statistics_of(outputs, slope=None):
    """Mean, standard deviation, dead and saturated fraction, in NumPy float64."""
    y = np.asarray(outputs).astype("float64")
    y = y.reshape(-1, y.shape[-1])
    saturated = np.nan
    if slope is not None:
        saturated = ((slope(y) < 0.05).mean(axis=0) >= 0.75).mean()
    return y.mean(), y.std(), (y == 0).all(axis=0).mean(), saturated


def assert_recorded(probe, snapshot, outputs, rtol=1e-5, **options):
    """Compares every layer, at one of the snapshots."""
    assert probe.means.shape[1] == len(outputs), probe.names
    for i, output in enumerate(outputs):
        slope = options.get("slopes", {}).get(i)
        mean, std, dead, saturated = statistics_of(output, slope)
        np.testing.assert_allclose(probe.means[snapshot, i], mean, rtol=rtol, atol=1e-7)
        np.testing.assert_allclose(probe.stds[snapshot, i], std, rtol=rtol, atol=1e-7)
        np.testing.assert_allclose(probe.dead[snapshot, i], dead, rtol=1e-12)
        np.testing.assert_allclose(probe.saturated[snapshot, i], saturated, rtol=1e-12)
        values = np.asarray(output).reshape(-1).astype("float64")
        edges = probe.histogram_edges[snapshot, i]
        if values.min() < values.max():
            ends = values.min(), values.max()
            np.testing.assert_allclose(
                edges, np.linspace(*ends, 65), rtol=1e-5, atol=1e-6
            )
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        found = probe.histograms[snapshot, i]
        assert found.sum() == values.size
        # Rounding may move what lies on an edge to the bin beside it.
        assert np.abs(np.cumsum(found) - np.cumsum(counts)).max() <= 2


def convolutional():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="tanh"),
            layers.Dense(2),
        ]
    )
