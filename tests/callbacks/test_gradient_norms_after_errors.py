"""After any error in `fit`, `GradientNorms` is removed and its record is kept."""

import gc

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
from tests.callbacks.harness import PlannedError, Raise, leftovers, slow


class FailAboveHundred(keras.layers.Layer):
    """Raises in the step graph when it sees a value beyond 100."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_less(x, 100.0 + 0 * x)]):
            return tf.identity(x)


def break_in_layer(model, x, y, probe):
    bad = x.copy()
    bad[3 * BATCH] = 1000.0
    fit_again(model, bad, y, probe)


def break_in_callback_after(model, x, y, probe):
    fit_again(model, x, y, [probe, Raise(PlannedError, step=2)])


def break_in_callback_before(model, x, y, probe):
    fit_again(model, x, y, [Raise(PlannedError, step=2), probe])


def break_in_data(model, x, y, probe):
    def source():
        yield from batches(x, y)[:3]
        raise PlannedError

    fit_again(model, source(), None, probe, batch_size=None)


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
    fit_again(model, x, y, [probe, Raise(KeyboardInterrupt, step=2)])


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
            FailAboveHundred(dtype="float64"),
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
    assert leftovers(model) == []
    assert len(probe.norms) == updates
    truth = replay(network(), sgd(), batches(x, y)[:updates], clips={"clipnorm": 0.8})
    assert_recorded(probe, truth)


@pytest.mark.parametrize(("act", "updates"), NEXT_FIT_PARAMS)
def test_after_an_error_the_next_fit_is_as_if_no_probe_had_been(act, updates):
    x, y = data()

    def two_fits(first, second):
        model = fragile()
        model.compile(sgd(clipnorm=0.8), "mse")
        break_it(act, model, x, y, first)
        fit_again(model, x, y, second)
        return model

    plain = two_fits(keras.callbacks.Callback(), [])
    without = two_fits(GradientNorms(), [])
    probe = GradientNorms()
    again = two_fits(probe, probe)
    for model in (without, again):
        assert leftovers(model) == []
        assert sorted(vars(model)) == sorted(vars(plain))
        assert sorted(vars(model.optimizer)) == sorted(vars(plain.optimizer))
        for a, b in zip(model.variables, plain.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    # A step that failed in the graph may count as an update for Keras.
    end = int(plain.optimizer.iterations.numpy())
    np.testing.assert_array_equal(probe.steps, np.r_[0:updates, end - 10 : end])


@pytest.mark.slow
def test_an_error_that_is_still_referenced():
    """As `pytest.raises` and debuggers keep it, with all its frames."""
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    with pytest.raises(PlannedError) as kept:
        fit_again(model, x, y, [probe, Raise(PlannedError, step=2)])
    assert kept.value is not None
    fit_again(model, x, y, probe)
    assert leftovers(model) == []
    np.testing.assert_array_equal(probe.steps, np.arange(13))


def test_garbage_collection_while_another_model_is_traced_loses_nothing():
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
            lambda m, x, y, p: fit_again(m, x, y, [p, Raise(PlannedError(), step=2)]),
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
    assert leftovers(model) == []


@pytest.mark.slow
def test_an_error_before_the_first_step_leaves_nothing():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")

    class AtBegin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise PlannedError

    break_it(
        lambda m, x, y, p: fit_again(m, x, y, [p, AtBegin()]),
        model,
        x,
        y,
        GradientNorms(),
    )
    assert leftovers(model) == []
    probe = GradientNorms()
    fit_again(model, x, y, probe)
    assert_recorded(probe, replay(network(), sgd(), batches(x, y)))


@pytest.mark.parametrize("order", [slow(1), slow(-1)])
def test_two_probes_after_an_error_and_with_one_of_them_next(order):
    x, y = data()
    model = fragile()
    model.compile(sgd(), "mse")
    probes = [GradientNorms(), GradientNorms(per_variable=False)][::order]
    break_it(
        lambda m, x, y, p: fit_again(m, x, y, [*probes, Raise(PlannedError, step=2)]),
        model,
        x,
        y,
        None,
    )
    fit_again(model, x, y, probes[0])
    assert [len(p.steps) for p in probes] == [13, 3]
    assert leftovers(model) == []


@pytest.mark.slow
def test_a_ready_callback_list_after_an_error():
    x, y = data()
    model = network()
    model.compile(sgd(), "mse")
    probe = GradientNorms()
    ready = keras.callbacks.CallbackList(
        [probe, Raise(PlannedError, step=2)], add_history=True, model=model
    )
    break_it(lambda m, x, y, p: fit_again(m, x, y, ready), model, x, y, probe)
    fit_again(model, x, y, probe)
    np.testing.assert_array_equal(probe.steps, np.arange(13))
    assert leftovers(model) == []
