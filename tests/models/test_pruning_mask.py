"""Pruned weights remain zero while a model trains, and in every file."""

import contextlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from keras_dnn import optimizers
from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.callbacks import MaxNorm
from keras_dnn.models import prune
from keras_dnn.models._pruning.mask import PruningMask
from keras_dnn.models.rebuild import rebuild
from tests.models.prune_cases import (
    all_kernels,
    network,
    numbers,
    values,
    without_smallest,
)

layers = keras.layers


@pytest.fixture(scope="module")
def pruned():
    keras.utils.set_random_seed(1)
    return prune(network(), 0.6)


def fitted(model, optimizer, jit_compile=False, **kwargs):
    x = numbers(64, 6)
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    model.fit(x, x[:, :2].sum(axis=1, keepdims=True), verbose=0, **kwargs)
    return model


def several(model):
    low = "|".join(v.path for v in model.get_layer("low").weights)
    return multi_optimizer(optimizers.Adam(0.01), {low: optimizers.Momentum(0.01)})


@pytest.mark.parametrize(
    ("optimizer", "jit_compile"),
    [
        (lambda _: keras.optimizers.SGD(0.01, momentum=0.9), True),
        (
            lambda _: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
            False,
        ),
        (
            lambda _: optimizers.Nesterov(
                0.01, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5
            ),
            True,
        ),
        (several, False),
    ],
    ids=["keras momentum", "keras accumulates", "averages", "several"],
)
def test_zeros_remain_and_the_others_train(pruned, optimizer, jit_compile):
    model = rebuild(pruned.model)
    before = values(model)
    fitted(model, optimizer(model), jit_compile)
    for was, now in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(now == 0, was == 0)
        # Some lead to units without remaining outputs, and have no gradient.
        assert np.count_nonzero(now != was) > 0.5 * np.count_nonzero(was)


def test_trains_as_gradient_descent_on_the_remaining_weights():
    dense = layers.Dense(8, use_bias=False, dtype="float64")
    model = keras.Sequential([keras.Input((6,), dtype="float64"), dense])
    result = prune(model, 0.5)
    x = numbers(32, 6).astype("float64")
    y = np.cos(x @ np.ones((6, 8))).astype("float32")  # As `fit` takes it.
    w = values(result.model)[0].copy()
    mask = w != 0
    for _ in range(3):
        w = mask * (w - 0.125 * 2 * x.T @ (x @ w - y) / y.size)
    loss = keras.losses.MeanSquaredError(dtype="float64")
    result.model.compile(keras.optimizers.SGD(0.125), loss)
    result.model.fit(x, y, batch_size=32, epochs=3, verbose=0)
    np.testing.assert_allclose(values(result.model)[0], w, rtol=1e-10, atol=1e-13)


@pytest.mark.quick
@pytest.mark.slow
def test_two_replicas_train_as_one_device_and_keep_the_zeros(two_replicas):
    given, found = network(), []
    for scope in (contextlib.nullcontext(), two_replicas.scope()):
        with scope:
            model = prune(given, 0.6).model
            optimizer = optimizers.Momentum(0.05, momentum=0.9)
            fitted(model, optimizer, batch_size=16, epochs=2)
        found.append(values(model))
    for one, two, w in zip(*found, values(given), strict=True):
        np.testing.assert_array_equal(one == 0, two == 0)
        np.testing.assert_array_equal(
            two == 0, without_smallest(w, round(0.6 * w.size)) == 0
        )
        assert np.abs(one - w)[one != 0].max() > 0.01
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
    for kernel in all_kernels(model).values():
        first, second = two_replicas.experimental_local_results(kernel.value)
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_continues_training_with_its_zeros_in_a_new_process(pruned, tmp_path):
    pruned.model.save(tmp_path / "pruned.keras")
    code = """
        import sys, keras, numpy as np, keras_dnn
        model = keras.models.load_model(sys.argv[1])
        before = model.get_weights()
        x = np.random.default_rng(0).normal(size=(64, 6))
        model.compile(keras_dnn.optimizers.Adam(0.01), "mse")
        model.fit(x, x[:, :2], verbose=0)
        for was, now in zip(before, model.get_weights(), strict=True):
            assert (was != now).any()
            if was.ndim > 1:
                assert ((was == 0) == (now == 0)).all()
        print([round(100 * (w == 0).mean()) for w in before if w.ndim > 1])
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "pruned.keras"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[60, 61, 57]"


@keras.saving.register_keras_serializable(package="tests")
class AddsOne(keras.constraints.Constraint):
    def __call__(self, w):
        return w + 1.0


def test_the_layers_own_constraint_is_applied_too():
    model = network()
    config = model.layers[0].get_config()
    unit, one = keras.constraints.UnitNorm(axis=0), AddsOne()
    model = keras.Sequential(
        [
            model.inputs[0],
            layers.Dense.from_config({**config, "kernel_constraint": unit}),
            layers.Dense(2, kernel_constraint=one),
        ]
    )
    result = prune(model, 0.5)
    before = values(result.model)
    fitted(result.model, keras.optimizers.SGD(1e-3), batch_size=64)
    low, high = values(result.model)
    np.testing.assert_array_equal(low == 0, before[0] == 0)
    np.testing.assert_allclose(np.linalg.norm(low, axis=0), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(high == 0, before[1] == 0)
    assert (np.abs(high - before[1] - 1)[high != 0] < 0.1).all()


def test_the_layers_own_constraint_measures_the_remaining_weights():
    w, mask = numbers(6, 8), numbers(8, 6).T > -1
    found = PruningMask(mask, keras.constraints.UnitNorm(axis=0))(w)
    remaining = np.where(mask, w, 0)
    np.testing.assert_allclose(
        found, remaining / np.linalg.norm(remaining, axis=0), rtol=1e-5, atol=1e-7
    )


def test_max_norm_keeps_zeros_and_mask(pruned):
    model = rebuild(pruned.model)
    fitted(model, optimizers.Adam(0.01), callbacks=[MaxNorm(0.4)])
    for was, now in zip(values(pruned.model), values(model), strict=True):
        np.testing.assert_array_equal(now == 0, was == 0)
        assert np.linalg.norm(now, axis=0).max() < 0.40001
    assert isinstance(model.get_layer("low").kernel.constraint, PruningMask)


def test_pruned_again_it_keeps_the_zeros_it_has(pruned):
    for fraction, expected in ((0.8, 0.8), (0.2, 0.6)):
        again = prune(pruned.model, fraction)
        for before, after in zip(
            values(pruned.model), values(again.model), strict=True
        ):
            assert not after[before == 0].any()
            assert np.count_nonzero(after) == after.size - round(expected * after.size)
        low = again.model.get_layer("low")
        assert low.kernel_constraint.constraint is None
        np.testing.assert_array_equal(low.kernel_constraint.mask, low.kernel != 0)


def test_nan_is_zero_when_it_is_masked():
    masked = PruningMask(np.array([True, False]))(np.array([1.0, np.nan]))
    assert np.asarray(masked).tolist() == [1.0, 0.0]
