"""`MaxNorm`: the bound holds after every update, and is removed at the end."""

import itertools

import keras
import numpy as np
import pytest

from keras_dnn import optimizers
from keras_dnn._keras.multi_optimizer import multi_optimizer
from keras_dnn.callbacks import GradientNorms, MaxNorm
from tests.callbacks.harness import (
    Observe,
    PlannedError,
    alone_and_together,
    assert_identical,
    fit,
    interrupted,
    leftovers,
    network,
    regression,
    slow,
)

RADIUS = 0.4
BOUND = RADIUS * (1 + 1e-6)
DATA = regression(20, scale=3.0)


def column_norms(model):
    kernels = [v.numpy().astype("float64") for v in model.weights[::2]]
    return np.concatenate([np.linalg.norm(kernel, axis=0) for kernel in kernels])


def replay(model, x, y, rate, epochs=1):
    """SGD by hand in float64, projected before the first and after every update."""
    w = [v.numpy().astype("float64") for v in model.weights]

    def project():
        for i in (0, 2):
            norms = np.linalg.norm(w[i], axis=0)
            w[i] = w[i] * np.minimum(1, RADIUS / norms)

    project()
    for _ in range(epochs):
        for i in range(0, len(x), 4):
            a, target = x[i : i + 4].astype("float64"), y[i : i + 4]
            hidden = np.tanh(a @ w[0] + w[1])
            error = 2 * (hidden @ w[2] + w[3] - target) / target.size
            back = (error @ w[2].T) * (1 - hidden**2)
            gradients = [a.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
            w = [v - rate * g for v, g in zip(w, gradients, strict=True)]
            project()
    return w


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jit_compile": True},
        {"steps_per_execution": 3},
        slow({"run_eagerly": True}),
    ],
)
@pytest.mark.parametrize("rule", [keras.optimizers.SGD, optimizers.SGD])
def test_training_is_that_of_a_replay_with_projections(rule, options):
    model = network()
    expected = replay(model, *DATA, 0.5, epochs=2)
    free = [v.numpy() for v in model.weights]
    model.compile(rule(0.5), "mse", **options)
    fit(model, DATA, MaxNorm(RADIUS), epochs=2)
    for found, by_hand, start in zip(model.weights, expected, free, strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=2e-4, atol=1e-6)
        assert np.abs(found - start).max() > 1e-2


RULES = {
    "Adam": optimizers.Adam,
    "Nesterov": optimizers.Nesterov,
    "Keras's Adam": keras.optimizers.Adam,
    "Keras's RMSprop": keras.optimizers.RMSprop,
}
MODES = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "clipped": {"global_clipnorm": 0.5},
    "averaged": {"use_ema": True, "ema_momentum": 0.5},
    "overwritten": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "decayed": {"weight_decay": 0.1},
}


def fit_bounded(model, *callbacks, data=DATA, **options):
    """Fits with the bound; returns the largest norm after each step."""
    largest = Observe(lambda: column_norms(model).max(), every="batch")
    fit(model, data, [*callbacks, largest], **options)
    return np.array(largest.values)


@pytest.mark.parametrize(
    ("rule", "mode"),
    [
        # The modes are those of a base class, ours or that of Keras.
        *((rule, mode) for rule in ("Adam", "Keras's Adam") for mode in MODES),
        ("Nesterov", "plain"),
        ("Keras's RMSprop", "plain"),
    ],
)
def test_the_bound_holds_after_every_update_and_at_the_end(rule, mode):
    model = network()
    model.compile(RULES[rule](0.3, **MODES[mode]), "mse")
    largest = fit_bounded(model, MaxNorm(RADIUS), epochs=2)
    assert len(largest) == 10
    assert (largest <= BOUND).all()
    assert column_norms(model).max() <= BOUND
    assert column_norms(model).max() > 0.9 * RADIUS


def test_the_bound_holds_under_loss_scaling():
    model = network(dtype="mixed_float16")
    optimizer = optimizers.Adam(0.3)
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer, 1024.0), "mse")
    assert (fit_bounded(model, MaxNorm(RADIUS)) <= BOUND).all()


def test_several_optimizers():
    model = network()
    several = {".*kernel": optimizers.Adam(0.3)}
    model.compile(multi_optimizer(keras.optimizers.SGD(0.5), several), "mse")
    assert (fit_bounded(model, MaxNorm(RADIUS)) <= BOUND).all()


@pytest.mark.parametrize("rule", [optimizers.Adam, keras.optimizers.Adam])
def test_two_replicas_are_as_one_device(rule, two_replicas):
    def train():
        model = network()
        model.compile(rule(0.05), "mse")
        fit(model, regression(16, scale=3.0), MaxNorm(RADIUS), epochs=2)
        return model.get_weights()

    alone, together = alone_and_together(two_replicas, train)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_a_model_built_by_its_first_batch():
    model = keras.Sequential([keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])
    model.compile(optimizers.Adam(0.3), "mse")
    assert (fit_bounded(model, MaxNorm(RADIUS)) <= BOUND).all()


# What is left alone


def test_weights_inside_are_untouched_to_the_last_bit():
    def trained(callbacks):
        model = network()
        model.compile(optimizers.Adam(0.01), "mse")
        fit(model, DATA, callbacks, epochs=2)
        return model.get_weights()

    assert_identical(trained([]), trained([MaxNorm(50.0)]))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-20, -0.0])
def test_zero_and_tiny_weights_stay(size):
    model = network()
    model.layers[0].kernel.assign(np.full((6, 5), size, "float32"))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, DATA, MaxNorm(RADIUS))
    np.testing.assert_array_equal(
        model.layers[0].kernel, np.full((6, 5), size, "float32")
    )


def test_frozen_layers_and_biases_stay():
    model = network()
    model.layers[0].kernel.assign(np.full((6, 5), 9.0))
    model.layers[0].trainable = False
    model.layers[1].bias.assign(np.full(3, 9.0))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, DATA, MaxNorm(RADIUS))
    assert (model.layers[0].kernel.numpy() == 9.0).all()
    assert (model.layers[1].bias.numpy() == 9.0).all()


@pytest.mark.parametrize("error", [None, PlannedError, KeyboardInterrupt])
def test_the_models_own_constraints_apply_and_come_back(error):
    own = keras.constraints.NonNeg()
    model = network()
    first, _, second, _ = model.weights
    first.constraint = own
    model.compile(optimizers.Adam(0.1), "mse")
    if error is None:
        largest = fit_bounded(model, MaxNorm(RADIUS))
    else:
        observed = Observe(lambda: column_norms(model).max(), every="batch")
        interrupted(model, DATA, [MaxNorm(RADIUS), observed], error=error, step=2)
        largest = np.array(observed.values)
        fit(model, DATA)
    assert (largest <= BOUND).all()
    assert first.constraint is own
    assert second.constraint is None
    assert (first.numpy() >= 0).all()
    assert leftovers(model) == []
    fit(model, DATA, epochs=10)
    assert column_norms(model).max() > RADIUS


def test_a_model_fitted_before_and_again():
    model = network()
    model.compile(optimizers.Adam(0.1), "mse")
    fit(model, DATA)
    bound = MaxNorm(RADIUS)
    for _ in range(2):
        assert (fit_bounded(model, bound) <= BOUND).all()
    fit(model, DATA, epochs=10)
    assert column_norms(model).max() > RADIUS


@pytest.mark.parametrize("order", [1, -1])
def test_ratios_are_those_of_updates_with_the_bound(order):
    model = network()
    norms = GradientNorms()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    weights = Observe(model.get_weights, every="batch")
    fit(model, DATA, [*[norms, MaxNorm(RADIUS)][::order], weights])
    for step, (before, after) in enumerate(itertools.pairwise(weights.values), 1):
        for i in (0, 2):
            update = np.linalg.norm(after[i] - before[i])
            ratio = update / np.linalg.norm(before[i])
            np.testing.assert_allclose(norms.ratios[step, i], ratio, rtol=1e-4)


@pytest.mark.parametrize("choice", [None, ["adapted"]])
def test_refuses_a_layer_whose_kernel_is_a_sum(choice):
    """Its adapter would carry the kernel out of the ball without a word."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, name="adapted"),
            keras.layers.Dense(1, name="plain"),
        ]
    )
    model.layers[0].enable_lora(2)
    model.compile("sgd", "mse")
    x = np.ones((8, 4), "float32")
    with pytest.raises(ValueError, match=r"LoRA adapter.*Received: 'adapted', layers="):
        model.fit(x, x[:, 0], verbose=0, callbacks=[MaxNorm(0.3, layers=choice)])
    model.fit(x, x[:, 0], verbose=0, callbacks=[MaxNorm(0.3, layers=["plain"])])
    assert np.linalg.norm(model.layers[1].kernel.numpy()) <= 0.3 + 1e-6
