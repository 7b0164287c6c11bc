"""`GradientNorms` leaves training as it is, and nothing behind when `fit` ends."""

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import GradientNorms
from keras_dnn.optimizers import Adam
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
from tests.callbacks.harness import leftovers, parts, slow

pytestmark = pytest.mark.as_in_keras


def trained_weights(make, mode, probes):
    x, y = data(dtype="float32")
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, kernel_constraint=keras.constraints.MaxNorm(1.0)),
        ]
    )
    options, arguments = {}, {}
    if mode == "jit":
        options["jit_compile"] = True
    if mode == "blocks":
        options["steps_per_execution"] = 4
    if mode == "accumulate":
        arguments["gradient_accumulation_steps"] = 3
    optimizer = make(clipnorm=0.8, **arguments)
    if mode == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    losses = train(model, optimizer, x, y, probes, epochs=2, **options).history["loss"]
    state = [w.numpy() for w in model.variables + model.optimizer.variables]
    return losses, state


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        (adam, "default"),
        *(
            pytest.param(make, mode, marks=pytest.mark.slow)
            for make, mode in [
                (sgd, "default"),
                (nesterov, "default"),
                (sgd, "blocks"),
                (adam, "blocks"),
                (nesterov, "jit"),
                (adam, "jit"),
                (sgd, "scaled"),
                (nesterov, "accumulate"),
                (adam, "accumulate"),
            ]
        ),
    ],
)
def test_training_is_the_same_to_the_last_bit(make, mode):
    losses, weights = trained_weights(make, mode, [])
    seen_losses, seen_weights = trained_weights(make, mode, [GradientNorms(every=2)])
    assert seen_losses == losses
    for seen, weight in zip(seen_weights, weights, strict=True):
        np.testing.assert_array_equal(seen, weight)


@pytest.mark.parametrize("make", [slow(sgd), slow(adam), slow(nesterov), "scaled"])
def test_nothing_is_left_on_model_and_optimizer(make):
    x, y = data()

    def left(probes):
        model = network()
        optimizer = (
            keras.optimizers.LossScaleOptimizer(sgd()) if make == "scaled" else make()
        )
        train(model, optimizer, x, y, probes)
        return model, [sorted(vars(part)) for part in parts(model)]

    _, expected = left([])
    model, found = left([GradientNorms()])
    assert found == expected
    assert leftovers(model) == []


def test_nothing_is_left_on_a_multi_optimizer():
    x, y = data()
    model, bare = network(), network()
    bare.set_weights(model.get_weights())
    train(model, several(Adam(0.02), sgd()), x, y, GradientNorms())
    assert leftovers(model) == []
    fit_again(model, x, y)
    train(bare, several(Adam(0.02), sgd()), x, y, [])
    fit_again(bare, x, y)
    for one, other in zip(model.weights, bare.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_graph_that_fed_the_probe_is_not_used_again():
    x, y = data()
    model = network()
    during = []
    read = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: during.append(model.train_function)
    )
    train(model, sgd(), x, y, [GradientNorms(), read])
    assert during[0] is not None
    assert model.train_function is not during[0]


@pytest.mark.slow
def test_training_that_is_stopped_early():
    x, y = data()
    model = network()
    probe = GradientNorms()
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9)
    history = train(model, sgd(), x, y, [probe, stop], epochs=5).history
    assert len(history["gradient_norm"]) == len(probe.norms) // 10 == 2
    assert leftovers(model) == []


def test_training_that_is_stopped_within_an_epoch():
    x, y = data()
    model = network()
    probe = GradientNorms()

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

    train(model, sgd(), x, y, [probe, Stop()], epochs=5)
    assert_recorded(probe, replay(network(), sgd(), batches(x, y)[: len(probe.steps)]))
    assert leftovers(model) == []


@pytest.mark.slow
def test_saving_during_and_after_fit(tmp_path):
    x, y = data()
    model = network()
    probe = GradientNorms()
    path = str(tmp_path / "{epoch}.keras")
    save = keras.callbacks.ModelCheckpoint(path)
    train(model, sgd(clipnorm=0.8), x, y, [probe, save], epochs=2)
    model.save(tmp_path / "last.keras")
    during = keras.saving.load_model(tmp_path / "2.keras")
    after = keras.saving.load_model(tmp_path / "last.keras")
    for loaded in (during, after):
        for a, b in zip(loaded.variables, model.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert leftovers(loaded) == []
    # Training goes on from there, with and without.
    fit_again(model, x, y)
    fit_again(after, x, y, GradientNorms())
    for a, b in zip(after.variables, model.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# With other probes and other models


@pytest.mark.parametrize("order", [1, slow(-1)])
def test_two_probes_both_record_the_truth(order):
    x, y = data()
    model = network()
    probe = GradientNorms()
    other = GradientNorms(per_variable=False, every=2, ratios=False)
    train(model, sgd(clipnorm=0.8), x, y, [probe, other][::order])
    truth = replay(network(), sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_recorded(probe, truth)
    np.testing.assert_array_equal(other.steps, np.arange(0, 10, 2))
    np.testing.assert_allclose(other.norms[:, 0], truth.global_norms[::2], rtol=1e-9)
    assert leftovers(model) == []


@pytest.mark.quick
@pytest.mark.slow
def test_two_models_at_once():
    """The second is trained at each epoch of the first, with its own probe."""
    x, y = data()
    outer, inner = network(), Subclassed()
    inner.compile(adam(clipnorm=0.5), "mse")
    inner_probe, outer_probe = GradientNorms(), GradientNorms()
    nested = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: fit_again(inner, x, y, inner_probe)
    )
    train(outer, sgd(), x, y, [outer_probe, nested], epochs=2)
    assert_recorded(outer_probe, replay(network(), sgd(), batches(x, y) * 2))
    twin = Subclassed()
    twin(x[:1])
    truth = replay(twin, adam(), batches(x, y) * 2, clips={"clipnorm": 0.5})
    assert_recorded(inner_probe, truth)
    assert leftovers(outer) + leftovers(inner) == []


def test_a_ready_callback_list():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    ready = keras.callbacks.CallbackList([probe], add_history=True, model=model)
    history = fit_again(model, x, y, ready)
    assert_recorded(probe, replay(network(), sgd(), batches(x, y)))
    np.testing.assert_allclose(
        history.history["gradient_norm"], [probe.global_norms.mean()]
    )
    assert leftovers(model) == []
