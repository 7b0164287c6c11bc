"""What every rule inherits, tested on the simplest rule."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.optimizers import Nesterov, Optimizer
from keras_dnn.optimizers.schedules import Schedule


@keras.saving.register_keras_serializable(package="test_optimizer")
class Descent(Optimizer):
    """Gradient descent that counts how often it is traced."""

    traces = 0

    def update(self, g, *, now, ahead):
        self.traces += 1
        return -now.learning_rate * g


@keras.saving.register_keras_serializable(package="test_optimizer")
class Listed(Schedule):
    """The values of a list, one for each update."""

    def __init__(self, values):
        self.listed = values

    def __call__(self, step):
        last = len(self.listed) - 1
        return keras.ops.take(
            keras.ops.array(self.listed, "float64"), keras.ops.minimum(step, last)
        )

    def get_config(self):
        return {"values": self.listed}


def variable(value=1.0):
    return keras.Variable(value, dtype="float64")


def step(optimizer, weights, *gradients):
    """One update with the numbers of `gradients`, or with ones."""
    gradients = gradients or [1.0] * len(weights)
    optimizer.apply(
        [None if g is None else keras.ops.array(g, "float64") for g in gradients],
        weights,
    )
    return [float(w.value) for w in weights]


class Recorder(keras.callbacks.Callback):
    """Collects the weight after every batch, then calls `act(batch)`."""

    def __init__(self, act=lambda batch: None):
        super().__init__()
        self.act = act
        self.weights = []
        self.traces = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.get_weights()[0].item())
        self.traces.append(getattr(self.model.optimizer, "traces", None))
        self.act(batch)


def fit_one_weight(optimizer, steps, act=lambda batch: None, **compile_arguments):
    """Trains a weight, 0 at first, whose gradient is always 1; see `Recorder`."""
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="float64"),
            keras.layers.Dense(
                1, use_bias=False, kernel_initializer="zeros", dtype="float64"
            ),
        ]
    )
    model.compile(optimizer, loss=lambda y, y_hat: y_hat, **compile_arguments)
    recorder = Recorder(act)
    ones = np.ones((steps, 1))
    model.fit(ones, ones, batch_size=1, verbose=0, callbacks=[recorder])
    return recorder


def moves(recorder):
    return -np.diff(recorder.weights, prepend=0.0)


# The rule


def test_a_rule_is_an_update():
    assert step(Descent(0.125), [variable(1.0), variable(-2.0)], 3.0, -4.0) == [
        1.0 - 0.375,
        -2.0 + 0.5,
    ]


def test_a_rule_without_update_says_so():
    class Nothing(Optimizer):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing must define `update`"):
        step(Nothing(0.1), [variable()])


def test_slots_start_at_zero_and_are_remembered():
    class Total(Optimizer):
        slots = ("total", "count")

        def update(self, g, total, count, *, now, ahead):
            total = total + g
            count = count + 1
            return -total / count, total, count

    optimizer, weights = Total(0.1), [variable(0.0), variable(0.0)]
    assert step(optimizer, weights, 1.0, 10.0) == [-1.0, -10.0]
    assert step(optimizer, weights, 3.0, 30.0) == [-3.0, -30.0]


@pytest.mark.parametrize("gradients", [(None, 1.0), (1.0, None)])
def test_a_weight_without_gradient_stays_and_the_other_keeps_its_own_slot(gradients):
    optimizer = Nesterov(0.25, momentum=0.5)
    weights = [variable(0.0), variable(0.0)]
    step(optimizer, weights, 1.0, 3.0)
    before = [float(w.value) for w in weights]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        after = step(optimizer, weights, *gradients)
    (still,) = (i for i, g in enumerate(gradients) if g is None)
    moved = 1 - still
    assert after[still] == before[still]
    # m = -0.25 g, then 0.5 m - 0.25; the step looks half of it ahead.
    first = [1.0, 3.0][moved]
    m = 0.5 * (-0.25 * first) - 0.25
    assert after[moved] == before[moved] + 0.5 * m - 0.25


def test_no_gradient_at_all_is_an_error():
    with pytest.raises(ValueError, match="No gradients"):
        step(Descent(0.1), [variable()], None)


# Hyperparameters that move


@pytest.mark.parametrize("jit_compile", [False, True])
def test_number_set_during_fit_is_used_from_the_next_step_without_retracing(
    jit_compile,
):
    optimizer = Descent(0.5)

    def act(batch):
        optimizer.learning_rate = 0.5 / 2 ** (batch + 1)

    recorder = fit_one_weight(optimizer, 6, act, jit_compile=jit_compile)
    np.testing.assert_array_equal(moves(recorder), 0.5 ** np.arange(1, 7))
    assert recorder.traces[0] == recorder.traces[-1] > 0


def test_momentum_and_weight_decay_set_during_fit_are_used_from_the_next_step():
    optimizer = Nesterov(0.5, momentum=0.0, weight_decay=0.0)

    def act(batch):
        if batch == 1:
            optimizer.momentum = 0.75
        if batch == 3:
            optimizer.weight_decay = 0.25

    recorder = fit_one_weight(optimizer, 6, act)
    w, m, expected = 0.0, 0.0, []
    for t in range(6):
        beta = 0.75 if t > 1 else 0.0
        decay = 0.25 if t > 3 else 0.0
        m = beta * m - 0.5
        w = w - 0.5 * decay * w + beta * m - 0.5
        expected.append(w)
    np.testing.assert_allclose(recorder.weights, expected, rtol=1e-12)


def test_callable_is_read_at_every_step():
    rate = keras.Variable(0.5, dtype="float64")
    recorder = fit_one_weight(
        Descent(lambda: rate), 4, lambda batch: rate.assign(rate / 2)
    )
    np.testing.assert_array_equal(moves(recorder), [0.5, 0.25, 0.125, 0.0625])


def test_callable_momentum_is_read_at_every_step():
    beta = keras.Variable(0.0, dtype="float64")
    optimizer = Nesterov(0.5, momentum=lambda: beta)
    recorder = fit_one_weight(optimizer, 2, lambda batch: beta.assign(0.5))
    # m = -0.5, then 0.5 m - 0.5 = -0.75 and half of it ahead.
    np.testing.assert_array_equal(moves(recorder), [0.5, 0.375 + 0.5])


def test_schedule_is_read_at_every_step():
    recorder = fit_one_weight(Descent(Listed([0.5, 0.25, 1.0, 2.0])), 4)
    np.testing.assert_array_equal(moves(recorder), [0.5, 0.25, 1.0, 2.0])


def test_schedule_of_keras_works_too():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.5, 0.25])
    recorder = fit_one_weight(Descent(schedule), 3)
    np.testing.assert_array_equal(moves(recorder), [0.5, 0.5, 0.25])


def test_schedules_count_updates_under_accumulation():
    optimizer = Descent(Listed([0.5, 0.25, 1.0]), gradient_accumulation_steps=2)
    recorder = fit_one_weight(optimizer, 6)
    np.testing.assert_array_equal(moves(recorder), [0, 0.5, 0, 0.25, 0, 1.0])


def test_momentum_schedule_counts_updates_under_accumulation():
    beta = Listed([0.5, 0.25, 0.75])
    optimizer = Nesterov(1.0, momentum=beta, gradient_accumulation_steps=2)
    recorder = fit_one_weight(optimizer, 4)
    # m = -1, a quarter ahead; then m = 0.25 m - 1 = -1.25, three quarters ahead.
    np.testing.assert_array_equal(moves(recorder), [0, 1.25, 0, 1.9375])


def test_iterations_counts_updates_under_accumulation():
    optimizer = Descent(1.0, gradient_accumulation_steps=3)
    fit_one_weight(optimizer, 7)
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay"])
def test_number_cannot_be_set_over_a_schedule(name):
    optimizer = Nesterov(**{name: Listed([0.5])})
    with pytest.raises(TypeError, match=rf"{name} follows a schedule.*{name}=0.1"):
        setattr(optimizer, name, 0.1)


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay"])
def test_a_number_reads_back_as_it_was_set(name):
    optimizer = Nesterov(**{name: 0.9})
    tolerance = 1e-7  # of float32
    assert float(getattr(optimizer, name)) == pytest.approx(0.9, abs=tolerance)
    setattr(optimizer, name, 0.7)
    assert float(getattr(optimizer, name)) == pytest.approx(0.7, abs=tolerance)
    assert optimizer.get_config()[name] == pytest.approx(0.7, abs=tolerance)


def test_a_schedule_reads_as_its_value_at_the_current_update():
    optimizer = Nesterov(0.1, momentum=Listed([0.5, 0.25, 0.75]))
    assert float(optimizer.momentum) == 0.5
    step(optimizer, [variable()])
    assert float(optimizer.momentum) == 0.25


# Weight decay


def test_weight_decay_is_multiplied_by_the_learning_rate():
    optimizer = Descent(0.5, weight_decay=0.25)
    assert step(optimizer, [variable(2.0)], 1.0) == [2.0 - 0.5 * 0.25 * 2.0 - 0.5]


def test_weight_decay_is_decoupled():
    # A clipped gradient doesn't clip the decay.
    optimizer = Descent(0.5, weight_decay=0.5, clipvalue=0.125)
    assert step(optimizer, [variable(8.0)], 100.0) == [8.0 - 2.0 - 0.0625]


@pytest.mark.parametrize(
    "weight_decay",
    [Listed([0.5, 0.25]), lambda: keras.ops.array(0.5, "float64")],
    ids=["schedule", "callable"],
)
def test_weight_decay_moves(weight_decay):
    moves = isinstance(weight_decay, Listed)
    optimizer, weights = Descent(1.0, weight_decay=weight_decay), [variable(8.0)]
    assert step(optimizer, weights, 0.0) == [4.0]
    assert step(optimizer, weights, 0.0) == [3.0 if moves else 2.0]


def test_excluded_variables_have_no_weight_decay():
    kernel = keras.Variable(8.0, dtype="float64", name="kernel")
    bias = keras.Variable(8.0, dtype="float64", name="bias")
    optimizer = Descent(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert step(optimizer, [kernel, bias], 0.0, 0.0) == [4.0, 8.0]


def test_excluded_variables_have_no_weight_decay_in_fit():
    optimizer = Descent(1.0, weight_decay=0.5)
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, bias_initializer="ones")]
    )
    optimizer.exclude_from_weight_decay(var_list=[model.layers[0].bias])
    model.compile(optimizer, loss=lambda y, y_hat: 0 * y_hat)
    kernel, _ = model.get_weights()
    model.fit(np.ones((2, 1)), np.ones((2, 1)), batch_size=1, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], kernel / 4)
    np.testing.assert_array_equal(model.get_weights()[1], [1.0])


# Around the rule


def test_gradients_are_averaged_before_they_are_clipped():
    optimizer = Descent(1.0, gradient_accumulation_steps=2, clipvalue=1.0)
    weights = [variable(0.0)]
    assert step(optimizer, weights, 4.0) == [0.0]
    # The mean is 0.5; if each were clipped first it would be (1 - 1) / 2 = 0.
    assert step(optimizer, weights, -3.0) == [-0.5]
    assert step(optimizer, weights, 4.0) == [-0.5]
    assert step(optimizer, weights, 4.0) == [-1.5]


def test_repeated_rows_of_a_sparse_gradient_are_summed_before_they_are_clipped():
    import tensorflow as tf

    table = keras.Variable(np.zeros((3, 1)), dtype="float64")
    rows = tf.IndexedSlices(
        tf.constant([[3.0], [3.0], [8.0]], "float64"),
        tf.constant([0, 0, 2]),
        tf.constant([3, 1]),
    )
    # Row 0 is 6 and the norm 10; without the sum it would be less.
    Descent(1.0, global_clipnorm=1.0).apply([rows], [table])
    np.testing.assert_allclose(table.numpy(), [[-0.6], [0], [-0.8]], rtol=1e-12)


def test_constraints_hold_after_the_step():
    weight = keras.Variable(1.0, dtype="float64")
    weight.constraint = keras.constraints.NonNeg()
    assert step(Descent(1.0), [weight], 3.0) == [0.0]


def test_loss_scale_factor_divides_the_gradients():
    assert step(Descent(1.0, loss_scale_factor=4.0), [variable(0.0)], 2.0) == [-0.5]


def test_configuration_round_trip():
    optimizer = Descent(Listed([0.5, 0.25]), weight_decay=0.3, clipnorm=2.0)
    copy = Descent.from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()
    assert isinstance(copy._learning_rate, Listed)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_saved_model_continues_in_the_middle_of_an_accumulation(cut, tmp_path):
    def model_after(steps):
        model = keras.Sequential(
            [
                keras.Input((1,), dtype="float64"),
                keras.layers.Dense(1, dtype="float64", kernel_initializer="ones"),
            ]
        )
        model.compile(
            Nesterov(Listed([0.5, 0.25, 0.125]), 0.5, gradient_accumulation_steps=2),
            loss="mse",
        )
        return train(model, steps)

    def train(model, steps):
        for t in steps:
            model.train_on_batch(np.full((1, 1), t + 1.0), np.zeros((1, 1)))
        return model

    model_after(range(cut)).save(tmp_path / "model.keras")
    resumed = train(keras.models.load_model(tmp_path / "model.keras"), range(cut, 4))
    for w, expected in zip(
        resumed.get_weights(), model_after(range(4)).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(w, expected)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_unknown_size_counts_its_updates_only():
    """Keras 3.15 counts one more in each epoch, when it finds the data at its end."""
    x, y = np.ones((6, 2), "float32"), np.ones((6, 1), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(Nesterov(0.01), "mse")
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2).filter(lambda *_: True)

    model.fit(data, epochs=4, shuffle=False, verbose=0)

    assert int(model.optimizer.iterations) == 4 * 3
