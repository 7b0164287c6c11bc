"""Gradients so small or large that a sum of squares under- or overflows."""

import keras
import numpy as np
import pytest

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


def one_weight_each(rows, dtype="float32", per_variable=True, **compile_options):
    """Trains a linear model whose gradient at each step is a row of `rows`."""
    x = np.array(rows, dtype)
    model = keras.Sequential(
        [
            keras.Input((x.shape[1],), dtype=dtype),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="ones", dtype=dtype
            ),
        ]
    )
    probe = GradientNorms(per_variable=per_variable)
    # A batch of one: the mean of outputs has the input as its gradient.
    train(
        model,
        keras.optimizers.SGD(0.0),
        x,
        np.zeros((len(x), 1), dtype),
        probe,
        batch_size=1,
        loss=lambda y, y_hat: y_hat,
        **compile_options,
    )
    return probe


@pytest.mark.parametrize("jit_compile", [False, slow(True)])
@pytest.mark.parametrize(
    "size", [slow(1e-36), 1e-25, slow(1e-19), slow(1e-3), slow(1e19), 1e25, 1e38]
)
def test_tiny_and_huge_gradients_have_their_norm(size, jit_compile):
    rows = size * np.array([[3.0, 2.0, -1.5, 0.5], [1.0, -2.0, 0.0, 0.25]])
    probe = one_weight_each(rows, jit_compile=jit_compile)
    expected = np.linalg.norm(rows.astype("float32").astype("float64"), axis=1)
    np.testing.assert_allclose(probe.norms[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(probe.global_norms, expected, rtol=1e-5)


@pytest.mark.parametrize("per_variable", [True, False])
@pytest.mark.parametrize("size", [1e-250, slow(1e-100), slow(1e100), 1e250])
def test_tiny_and_huge_gradients_in_float64_have_their_norm(size, per_variable):
    rows = np.array([[3.0, 4.0, 0.0], [0.0, 5.0, 12.0]])
    probe = one_weight_each(size * rows, "float64", per_variable=per_variable)
    np.testing.assert_allclose(probe.norms[:, 0] / size, [5, 13], rtol=1e-12)
    np.testing.assert_allclose(probe.global_norms / size, [5, 13], rtol=1e-12)


@pytest.mark.slow
def test_tiny_and_large_variables_together_keep_their_norms():
    """One is rescued from underflow, the other needs no rescue."""
    x, y = data()
    x[:, :3] *= 1e-28
    model, twin = (keras.Sequential([keras.Input((6,)), dense(3, 1)]) for _ in range(2))
    probe = GradientNorms()
    train(model, sgd(), x, y, probe)
    assert_recorded(probe, replay(twin, sgd(), batches(x, y)))


@pytest.mark.parametrize("jit_compile", [False, slow(True)])
def test_zero_infinity_and_nan_are_distinguished(jit_compile):
    rows = [
        [0.0, 0.0],
        [1.0, np.inf],
        [1.0, np.nan],
        [-np.inf, 2.0],
        [np.nan, np.inf],
        [3.0, 4.0],
    ]
    probe = one_weight_each(rows, jit_compile=jit_compile)
    expected = [0.0, np.inf, np.nan, np.inf, np.nan, 5.0]
    np.testing.assert_allclose(probe.norms[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(probe.global_norms, expected, rtol=1e-6)
