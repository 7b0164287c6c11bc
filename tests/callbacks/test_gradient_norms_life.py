"""`GradientNorms` comes and goes without a trace, whatever happens in between."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import GradientNorms
from tests.callbacks.gradient_replay import (
    BATCH,
    Subclassed,
    adam,
    assert_tells,
    batches,
    data,
    dense,
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
    losses = fit(model, optimizer, x, y, probes, epochs=2, **options).history["loss"]
    state = [w.numpy() for w in model.variables + model.optimizer.variables]
    return losses, state


@pytest.mark.parametrize(
    "mode", ["default", *map(slow, ("blocks", "jit", "scaled", "accumulate"))]
)
@pytest.mark.parametrize("make", [slow(sgd), adam, slow(nesterov)])
def test_training_is_the_same_to_the_last_bit(make, mode):
    losses, weights = trained_weights(make, mode, [])
    seen_losses, seen_weights = trained_weights(make, mode, [GradientNorms(every=2)])
    assert seen_losses == losses
    for seen, weight in zip(seen_weights, weights, strict=True):
        np.testing.assert_array_equal(seen, weight)


def test_a_model_fitted_before():
    x, y = data()
    model, twin = network(), network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, [])
    refit(model, x, y, probe)
    truth = replay(twin, sgd(), batches(x, y) * 2)
    np.testing.assert_array_equal(probe.steps, np.arange(10, 20))
    np.testing.assert_allclose(probe.norms, truth.norms[10:], rtol=1e-9)
    np.testing.assert_allclose(probe.ratios, truth.ratios[10:], rtol=1e-9)


@pytest.mark.parametrize("clips", [slow({}), {"clipnorm": 0.8}])
def test_fit_again_adds_to_the_record(clips):
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(**clips), x, y, probe)
    refit(model, x, y)
    refit(model, x, y, probe)
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
    fit(model, sgd(), x, y, probe)
    history = refit(model, x, y, probe).history
    np.testing.assert_allclose(
        history["gradient_norm"], [probe.global_norms[10:].mean()]
    )


def test_another_optimizer_starts_a_new_record():
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    weights = model.get_weights()
    fit(model, adam(), x, y, probe)
    twin = network()
    twin.set_weights(weights)
    assert_tells(probe, replay(twin, adam(), batches(x, y)))


@pytest.mark.slow
def test_another_model_starts_a_new_record():
    x, y = data()
    probe = GradientNorms()
    fit(network(), sgd(), x, y, probe)
    fit(Subclassed(), sgd(), x, y, probe)
    twin = Subclassed()
    twin(x[:1])
    assert_tells(probe, replay(twin, sgd(), batches(x, y)))


@pytest.mark.slow
def test_freezing_a_layer_and_compiling_anew():
    x, y = data()
    model = network()
    probe = GradientNorms()
    fit(model, sgd(), x, y, probe)
    model.layers[0].trainable = False
    fit(model, sgd(), x, y, probe)
    assert probe.norms.shape == (10, 2)
    assert list(probe.names) == [w.path for w in model.layers[1].weights]


@pytest.mark.parametrize("make", [slow(sgd), slow(adam), slow(nesterov), "scaled"])
def test_nothing_is_left_on_model_and_optimizer(make):
    x, y = data()

    def left(probes):
        model = network()
        optimizer = (
            keras.optimizers.LossScaleOptimizer(sgd()) if make == "scaled" else make()
        )
        fit(model, optimizer, x, y, probes)
        return model, [sorted(vars(part)) for part in parts(model)]

    _, expected = left([])
    model, found = left([GradientNorms()])
    assert found == expected
    assert traces_of_ours(*parts(model)) == []


def test_the_graph_that_fed_the_probe_is_not_used_again():
    x, y = data()
    model = network()
    during = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: during.append(model.train_function)
    )
    fit(model, sgd(), x, y, [GradientNorms(), look])
    assert during[0] is not None
    assert model.train_function is not during[0]


class PlannedError(Exception):
    pass


class Bomb(keras.layers.Layer):
    """Raises in the step graph when it sees a value beyond 100."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 100.0 + 0 * x)]):
            return tf.identity(x)


class Raises(keras.callbacks.Callback):
    """Raises `error` at the third batch."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            # A class: an instance kept here would keep its frames, and `fit` in them.
            raise self.error


def break_in_layer(model, x, y, probe):
    bad = x.copy()
    bad[3 * BATCH] = 1000.0
    refit(model, bad, y, probe)


def break_in_callback_after(model, x, y, probe):
    refit(model, x, y, [probe, Raises(PlannedError)])


def break_in_callback_before(model, x, y, probe):
    refit(model, x, y, [Raises(PlannedError), probe])


def break_in_data(model, x, y, probe):
    def source():
        yield from batches(x, y)[:3]
        raise PlannedError

    refit(model, source(), None, probe, batch_size=None)


def break_in_validation(model, x, y, probe):
    def source():
        yield from batches(x, y)[:3]
        raise PlannedError

    model.fit(
        x,
        y,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=[probe],
        validation_data=source(),
    )


def break_by_keyboard(model, x, y, probe):
    refit(model, x, y, [probe, Raises(KeyboardInterrupt)])


BREAKS = {
    break_in_layer: 3,
    break_in_callback_after: 3,
    break_in_callback_before: 3,
    break_in_data: 3,
    break_in_validation: 10,
    break_by_keyboard: 3,
}
RARE = (break_in_callback_before, break_by_keyboard)
BREAK_PARAMS = [
    pytest.param(
        act,
        updates,
        id=act.__name__,
        marks=pytest.mark.slow if act in RARE else [],
    )
    for act, updates in BREAKS.items()
]
# What the next `fit` does hangs on where the error struck, in the graph or outside.
NEXT_FIT_PARAMS = [
    pytest.param(
        act,
        updates,
        id=act.__name__,
        marks=[] if act is break_in_layer else pytest.mark.slow,
    )
    for act, updates in BREAKS.items()
]


def fragile():
    return keras.Sequential(
        [
            keras.Input((6,)),
            Bomb(dtype="float64"),
            dense(5, 1, activation="tanh"),
            dense(3, 2),
        ]
    )


def break_it(act, model, x, y, probe):
    """Runs `act`, whose error ends here as it would in a notebook cell."""
    try:
        act(model, x, y, probe)
    except (PlannedError, KeyboardInterrupt, tf.errors.OpError, StopIteration):
        return
    pytest.fail("nothing was raised")


@pytest.mark.parametrize(("act", "updates"), BREAK_PARAMS)
def test_after_an_error_nothing_is_left_and_nothing_is_lost(act, updates):
    x, y = data()
    model = fragile()
    model.compile(sgd(clipnorm=0.8), "mse")
    probe = GradientNorms()
    break_it(act, model, x, y, probe)
    assert traces_of_ours(*parts(model)) == []
    assert len(probe.norms) == updates
    truth = replay(network(), sgd(), batches(x, y)[:updates], clips={"clipnorm": 0.8})
    assert_tells(probe, truth)


@pytest.mark.parametrize(("act", "updates"), NEXT_FIT_PARAMS)
def test_after_an_error_the_next_fit_is_as_if_no_probe_had_been(act, updates):
    x, y = data()

    def train(first, second):
        model = fragile()
        model.compile(sgd(clipnorm=0.8), "mse")
        break_it(act, model, x, y, first)
        refit(model, x, y, second)
        return model

    plain = train(keras.callbacks.Callback(), [])
    without = train(GradientNorms(), [])
    probe = GradientNorms()
    again = train(probe, probe)
    for model in (without, again):
        assert traces_of_ours(*parts(model)) == []
        assert sorted(vars(model)) == sorted(vars(plain))
        assert sorted(vars(model.optimizer)) == sorted(vars(plain.optimizer))
        for a, b in zip(model.variables, plain.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    # A step that failed in the graph may count as an update for Keras.
    end = int(plain.optimizer.iterations.numpy())
    np.testing.assert_array_equal(probe.steps, np.r_[0:updates, end - 10 : end])


@pytest.mark.slow
def test_an_error_kept_in_hand_keeps_the_record_too():
    """As `pytest.raises` and debuggers keep it, with all its frames."""
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    with pytest.raises(PlannedError) as kept:
        refit(model, x, y, [probe, Raises(PlannedError)])
    assert kept.value is not None
    refit(model, x, y, probe)
    assert traces_of_ours(*parts(model)) == []
    np.testing.assert_array_equal(probe.steps, np.arange(13))


def test_garbage_collected_while_another_model_is_traced_loses_nothing():
    """Where an error holds its own frames, only the collector ends the `fit`."""
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    # What other tests left is none of this collector's business.
    gc.freeze()
    gc.disable()
    try:
        # A callback that keeps the error it raises closes the circle.
        break_it(
            lambda m, x, y, p: refit(m, x, y, [p, Raises(PlannedError())]),
            model,
            x,
            y,
            probe,
        )

        @tf.function
        def another():
            gc.collect()
            return tf.zeros(())

        another()
    finally:
        gc.enable()
        gc.unfreeze()
    np.testing.assert_array_equal(probe.steps, np.arange(3))
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_an_error_before_the_first_step_leaves_nothing():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")

    class AtBegin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise PlannedError

    break_it(
        lambda m, x, y, p: refit(m, x, y, [p, AtBegin()]), model, x, y, GradientNorms()
    )
    assert traces_of_ours(*parts(model)) == []
    probe = GradientNorms()
    refit(model, x, y, probe)
    assert_tells(probe, replay(network(), sgd(), batches(x, y)))


@pytest.mark.slow
def test_training_that_is_stopped_early():
    x, y = data()
    model = network()
    probe = GradientNorms()
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9)
    history = fit(model, sgd(), x, y, [probe, stop], epochs=5).history
    assert len(history["gradient_norm"]) == len(probe.norms) // 10 == 2
    assert traces_of_ours(*parts(model)) == []


def test_training_that_is_stopped_within_an_epoch():
    x, y = data()
    model = network()
    probe = GradientNorms()

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 3

    fit(model, sgd(), x, y, [probe, Stop()], epochs=5)
    assert_tells(probe, replay(network(), sgd(), batches(x, y)[: len(probe.steps)]))
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_early_stopping_can_watch_the_gradient_norm():
    x, y = data()
    stop = keras.callbacks.EarlyStopping("gradient_norm", min_delta=1e9, mode="min")
    history = fit(network(), sgd(), x, y, [GradientNorms(), stop], epochs=5).history
    assert len(history["loss"]) == 2


# Company


@pytest.mark.parametrize("order", [1, slow(-1)])
def test_two_probes_each_tell_the_truth(order):
    x, y = data()
    model = network()
    probe = GradientNorms()
    other = GradientNorms(per_variable=False, every=2, ratios=False)
    fit(model, sgd(clipnorm=0.8), x, y, [probe, other][::order])
    truth = replay(network(), sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_tells(probe, truth)
    np.testing.assert_array_equal(other.steps, np.arange(0, 10, 2))
    np.testing.assert_allclose(other.norms[:, 0], truth.global_norms[::2], rtol=1e-9)
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.parametrize("order", [slow(1), slow(-1)])
def test_two_probes_after_an_error_and_with_one_of_them_next(order):
    x, y = data()
    model = fragile()
    model.compile(sgd(), "mse")
    probes = [GradientNorms(), GradientNorms(per_variable=False)][::order]
    break_it(
        lambda m, x, y, p: refit(m, x, y, [*probes, Raises(PlannedError)]),
        model,
        x,
        y,
        None,
    )
    refit(model, x, y, probes[0])
    assert [len(p.steps) for p in probes] == [13, 3]
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_two_models_at_once():
    """The second is trained at each epoch of the first, with its own probe."""
    x, y = data()
    outer, inner = network(), Subclassed()
    inner.compile(adam(clipnorm=0.5), "mse")
    inner_probe, outer_probe = GradientNorms(), GradientNorms()
    nested = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: refit(inner, x, y, inner_probe)
    )
    fit(outer, sgd(), x, y, [outer_probe, nested], epochs=2)
    assert_tells(outer_probe, replay(network(), sgd(), batches(x, y) * 2))
    twin = Subclassed()
    twin(x[:1])
    truth = replay(twin, adam(), batches(x, y) * 2, clips={"clipnorm": 0.5})
    assert_tells(inner_probe, truth)
    assert traces_of_ours(*parts(outer), *parts(inner)) == []


def test_a_ready_callback_list():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    ready = keras.callbacks.CallbackList([probe], add_history=True, model=model)
    history = refit(model, x, y, ready)
    assert_tells(probe, replay(network(), sgd(), batches(x, y)))
    np.testing.assert_allclose(
        history.history["gradient_norm"], [probe.global_norms.mean()]
    )
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.slow
def test_a_ready_callback_list_after_an_error():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    ready = keras.callbacks.CallbackList(
        [probe, Raises(PlannedError)], add_history=True, model=model
    )
    break_it(lambda m, x, y, p: refit(m, x, y, ready), model, x, y, probe)
    refit(model, x, y, probe)
    np.testing.assert_array_equal(probe.steps, np.arange(13))
    assert traces_of_ours(*parts(model)) == []


class OwnStep(keras.Model):
    """A custom `train_step` that goes through the optimizer's `apply_gradients`."""

    def __init__(self):
        super().__init__()
        self.first = dense(5, 1, activation="tanh")
        self.last = dense(3, 2)

    def call(self, x):
        return self.last(self.first(x))

    def train_step(self, batch):
        x, y = batch
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        return {"loss": loss}


@pytest.mark.slow
def test_a_train_step_of_ones_own():
    x, y = data()
    probe = GradientNorms()
    fit(OwnStep(), sgd(clipnorm=0.8), x, y, probe)
    twin = Subclassed()
    twin(x[:1])
    truth = replay(twin, sgd(), batches(x, y), clips={"clipnorm": 0.8})
    assert_tells(probe, truth)


@pytest.mark.slow
def test_saving_during_and_after_fit(tmp_path):
    x, y = data()
    model = network()
    probe = GradientNorms()
    path = str(tmp_path / "{epoch}.keras")
    save = keras.callbacks.ModelCheckpoint(path)
    fit(model, sgd(clipnorm=0.8), x, y, [probe, save], epochs=2)
    model.save(tmp_path / "last.keras")
    during = keras.saving.load_model(tmp_path / "2.keras")
    after = keras.saving.load_model(tmp_path / "last.keras")
    for loaded in (during, after):
        for a, b in zip(loaded.variables, model.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert traces_of_ours(*parts(loaded)) == []
    # Training goes on from there, with and without.
    refit(model, x, y)
    refit(after, x, y, GradientNorms())
    for a, b in zip(after.variables, model.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
