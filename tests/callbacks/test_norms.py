"""Large tensors: what XLA compiles for them must say the same as plain operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers
from keras_dnn.callbacks import GradientNorms, MaxNorm
from keras_dnn.callbacks._probe.norms import LARGE, Difference, norms
from keras_dnn.callbacks.max_norm import _Bound
from tests.callbacks.gradient_replay import (
    assert_recorded,
    batches,
    data,
    dense,
    fit_again,
    nesterov,
    replay,
    sgd,
    train,
)


def draws(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def measured(vectors):
    return tf.function(lambda: norms(vectors, compiled=True))().numpy()


@pytest.mark.parametrize("shape", [(LARGE + 16,), (LARGE + 27,), (3, 7, 1601), (5,)])
def test_norms_of_tensors_and_differences(shape):
    """In float64: a sum in float32 would be off by 1e-7."""
    big, a, b = draws(2 * LARGE), draws(*shape, seed=1), draws(*shape, seed=2)
    # Without the signs an entry that is left out or doubled could hide.
    a += np.linspace(0, 10, a.size, dtype="float32").reshape(shape)
    found = measured([big, a, Difference(tf.constant(a), tf.constant(b)), b])
    expected = [np.linalg.norm(v.astype("float64")) for v in (big, a, a - b, b)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_norms_at_the_ends_of_float32():
    big = draws(2 * LARGE)
    tiny, huge, holed, endless = (big.copy() for _ in range(4))
    tiny *= np.float32(1e-30)
    huge *= np.float32(1e37)
    holed[[3, 5]] = np.inf, np.nan
    endless[LARGE] = -np.inf
    found = measured([tiny, huge, holed, endless, np.zeros(7, "float32")])
    expected = [np.linalg.norm(v.astype("float64")) for v in (tiny, huge)]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-12)
    np.testing.assert_array_equal(found[2:], [np.nan, np.inf, 0.0])


def wide(seed=1):
    """A network whose first kernel is large."""
    return keras.Sequential(
        [keras.Input((150,)), dense(250, seed, "float32"), dense(3, 2, "float32")]
    )


@pytest.mark.parametrize("make", [nesterov, sgd])
def test_a_large_variable_is_measured_like_any_other(make):
    x, y = data(inputs=150, dtype="float32")
    probe = GradientNorms()
    watched, alone = wide(), wide()
    train(watched, make(clipnorm=0.8), x, y, probe)
    truth = replay(wide(), make(), batches(x, y), clips={"clipnorm": 0.8})
    assert_recorded(probe, truth, rtol=1e-5, ratio_rtol=1e-4)
    train(alone, make(clipnorm=0.8), x, y, [])
    for seen, unseen in zip(watched.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(seen, unseen)


KERNELS = [((150, 250), (0,)), ((3, 3, 60, 64), (0, 1, 2)), ((7, 5000), (0,))]


@pytest.mark.parametrize(("shape", "axes"), KERNELS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_large_kernel_is_brought_back_and_left_alone_inside(shape, axes, dtype):
    weights = tf.cast(draws(*shape) * np.linspace(0.5, 2, shape[-1]), dtype)
    exact = weights.numpy().astype("float64")
    lengths = np.sqrt((exact**2).sum(axes))
    bound = _Bound(float(np.median(lengths)), axes, None)
    found = tf.function(bound)(weights)
    assert found.dtype == weights.dtype
    inside = lengths < bound.radius * (1 - 1e-6)
    np.testing.assert_array_equal(
        found.numpy()[..., inside], weights.numpy()[..., inside]
    )
    factor = np.minimum(1, bound.radius / lengths)
    tolerance = 1e-6 if dtype == "float32" else 2**-8
    np.testing.assert_allclose(
        found.numpy().astype("float64"), exact * factor, rtol=tolerance
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.Nesterov(0.005, 0.9),
        lambda: optimizers.Momentum(0.005, 0.9),
        lambda: keras.optimizers.SGD(0.005),
    ],
)
def test_a_large_kernel_is_bounded_after_the_update(make):
    """What the update alone would give, brought back; inside to the last bit."""
    x, y = data(samples=4, inputs=150, dtype="float32")
    bounded, free = wide(), wide()
    start = bounded.layers[0].kernel.numpy()
    for model in (bounded, free):
        model.layers[0].kernel.assign(start / np.linalg.norm(start, axis=0))
    radius = 1.00001
    train(free, make(), x, y, [])
    probe, seen = MaxNorm(radius, layers=[bounded.layers[0]]), []
    # At the end of `fit` all is brought back once more.
    read = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            bounded.layers[0].kernel.numpy()
        )
    )
    train(bounded, make(), x, y, [probe, read])
    found, update = seen[0], free.layers[0].kernel.numpy()
    lengths = np.linalg.norm(update.astype("float64"), axis=0)
    inside = lengths < radius * (1 - 1e-6)
    assert 10 < inside.sum() < 240
    np.testing.assert_array_equal(found[:, inside], update[:, inside])
    factor = np.minimum(1, radius / lengths)
    np.testing.assert_allclose(found, update * factor, rtol=1e-5)
    np.testing.assert_array_equal(
        bounded.layers[1].kernel.numpy(), free.layers[1].kernel.numpy()
    )
    fit_again(bounded, x, y)
    assert np.linalg.norm(bounded.layers[0].kernel.numpy(), axis=0).max() > radius
