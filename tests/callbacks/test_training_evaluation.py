"""`TrainingEvaluation`: losses, and gaps that add up; training is unchanged."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import PerformanceScheduler, TrainingEvaluation
from keras_dnn.layers import MCDropout
from tests.callbacks import harness
from tests.callbacks.harness import (
    Observe,
    alone_and_together,
    assert_identical,
    dtype_policy,
    interrupted,
    leftovers,
    slow,
    state,
)

layers = keras.layers


def data(samples=40, noise=0.3, seed=5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 6)).astype("float32")
    y = x[:, :2] * 2 + noise * rng.normal(size=(samples, 2))
    return x, y.astype("float32")


def network(*extra, regularizer=None):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, "relu", kernel_regularizer=regularizer),
            *extra,
            layers.Dense(2),
        ]
    )


FIT = {"validation_data": data(seed=6), "batch_size": 8}


def fit(model, callbacks, epochs=3, **options):
    options = FIT | options
    return harness.fit(model, data(), callbacks, epochs=epochs, **options).history


# Numbers


def test_losses_and_metrics_are_those_of_the_weights_at_the_epochs_end():
    x, y = data()
    model = network(layers.Dropout(0.4), regularizer=keras.regularizers.L2(0.1))
    model.compile("adam", "mse", metrics=["mae"])
    evaluation = TrainingEvaluation((x, y))

    def by_hand():
        kernel, bias, last, last_bias = (
            w.numpy().astype("float64") for w in model.weights[:4]
        )
        outputs = np.maximum(x @ kernel + bias, 0) @ last + last_bias
        loss = np.mean((outputs - y) ** 2) + 0.1 * np.sum(kernel**2)
        return loss, np.mean(np.abs(outputs - y))

    observed = Observe(by_hand)
    history = fit(model, [evaluation, observed])
    losses, maes = np.transpose(observed.values)
    np.testing.assert_allclose(evaluation.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(history["train_eval_loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(history["train_eval_mae"], maes, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [8, 16, 40])
def test_with_batch_norm_the_regularisation_gap_is_that_of_batch_statistics(batch_size):
    x, y = data()
    model = network(layers.BatchNormalization(momentum=0.5))
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation((x, y), batch_size=batch_size)

    def by_hand():
        values = {
            w.path.rsplit("/", 1)[1]: w.numpy().astype("float64")
            for w in model.layers[1].weights
        }
        first, last = model.layers[0], model.layers[2]

        def loss(rows, mean, variance):
            hidden = np.maximum(x[rows] @ first.kernel.numpy() + first.bias.numpy(), 0)
            if mean is None:
                mean, variance = hidden.mean(0), hidden.var(0)
            hidden = (hidden - mean) / np.sqrt(variance + 1e-3)
            hidden = hidden * values["gamma"] + values["beta"]
            outputs = hidden @ last.kernel.numpy() + last.bias.numpy()
            return np.sum((outputs - y[rows]) ** 2)

        parts_of = [slice(i, i + batch_size) for i in range(0, 40, batch_size)]
        training = sum(loss(rows, None, None) for rows in parts_of) / 80
        moving = values["moving_mean"], values["moving_variance"]
        return training - loss(slice(None), *moving) / 80

    observed = Observe(by_hand)
    fit(model, [evaluation, observed])
    np.testing.assert_allclose(
        evaluation.regularisation_gaps, observed.values, rtol=1e-3, atol=1e-5
    )


def test_the_cost_of_dropout_is_that_of_many_draws():
    x, y = data(samples=4000)
    model = network(layers.Dropout(0.5))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    evaluation = TrainingEvaluation((x, y), samples=4000)
    model.fit(x, y, verbose=0, callbacks=[evaluation])
    draws = [np.mean((np.asarray(model(x, training=True)) - y) ** 2) for _ in range(30)]
    gap = np.mean(draws) - np.mean((np.asarray(model(x)) - y) ** 2)
    assert gap > 0.05
    assert abs(evaluation.regularisation_gaps[0] - gap) < 5 * np.std(draws)


def test_the_gaps_add_up():
    model = network(layers.Dropout(0.3), layers.BatchNormalization())
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data(), samples=17)
    history = fit(model, evaluation)
    np.testing.assert_allclose(
        np.subtract(history["val_loss"], history["loss"]),
        evaluation.generalisation_gaps
        - evaluation.regularisation_gaps
        - evaluation.lags,
        rtol=1e-6,
        atol=1e-8,
    )
    for name, column in {
        "lag": evaluation.lags,
        "regularisation": evaluation.regularisation_gaps,
        "generalisation": evaluation.generalisation_gaps,
    }.items():
        np.testing.assert_array_equal(history[f"train_eval_{name}"], column)


def test_without_noise_training_and_inference_agree():
    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    fit(model, evaluation)
    np.testing.assert_allclose(evaluation.regularisation_gaps, 0, atol=1e-6)


def test_sample_weights_several_outputs_and_inputs():
    x, y = data()
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    joined = layers.Concatenate()([a, b])
    outputs = {
        "one": layers.Dense(1, name="one")(joined),
        "two": layers.Dense(1, name="two")(joined),
    }
    model = keras.Model({"a": a, "b": b}, outputs)
    model.compile("adam", {"one": "mse", "two": "mae"})
    inputs = {"a": x[:, :3], "b": x[:, 3:]}
    targets = {"one": y[:, :1], "two": y[:, 1:]}
    weights = {"one": np.linspace(0, 2, 40), "two": np.ones(40)}
    evaluation = TrainingEvaluation((inputs, targets, weights), batch_size=40)
    model.fit(inputs, targets, verbose=0, callbacks=[evaluation])
    found = model(inputs)
    expected = np.mean(
        weights["one"] * np.square(np.asarray(found["one"]) - y[:, :1])[:, 0]
    ) + np.mean(np.abs(np.asarray(found["two"]) - y[:, 1:]))
    np.testing.assert_allclose(evaluation.losses[0], expected, rtol=1e-5)
    np.testing.assert_allclose(evaluation.regularisation_gaps, 0, atol=1e-6)


# The sample


class Rows(keras.layers.Layer):
    """Passes its input on and notes which rows it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, x, training=None):
        if training is False:
            tf.py_function(lambda row: self.seen.append(row.numpy()), [x[:, 0]], [])
        return x


def rows_of(evaluation, epochs=2):
    """Which rows it evaluates in each epoch; the first feature is their number."""
    observed = Rows()
    model = keras.Sequential([keras.Input((2,)), observed, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.zeros((8, 2))
    model.fit(x, x[:, :1], epochs=epochs, verbose=0, callbacks=[evaluation])
    seen = np.concatenate(observed.seen).astype(int)
    return seen.reshape(epochs, -1)


def numbered(samples=50):
    x = np.stack([np.arange(samples), np.ones(samples)], axis=1).astype("float32")
    return x, x[:, :1]


def test_the_sample_is_drawn_once_by_the_seed():
    first, again = rows_of(TrainingEvaluation(numbered(), samples=12))
    np.testing.assert_array_equal(first, again)
    assert len(set(first)) == 12
    same = rows_of(TrainingEvaluation(numbered(), samples=12))[0]
    other = rows_of(TrainingEvaluation(numbered(), samples=12, seed=1))[0]
    np.testing.assert_array_equal(first, same)
    assert set(first) != set(other)
    assert len(rows_of(TrainingEvaluation(numbered()))[0]) == 50


def test_a_shuffled_dataset_stays_the_same():
    batches = tf.data.Dataset.from_tensor_slices(numbered()).shuffle(50).batch(8)
    first, again = rows_of(TrainingEvaluation(batches, samples=20))
    np.testing.assert_array_equal(first, again)
    assert len(set(first)) == 24


def test_of_a_sequence_batches_are_drawn():
    x, y = numbered()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            rows = slice(10 * index, 10 * index + 10)
            return x[rows], y[rows]

    first, again = rows_of(TrainingEvaluation(Batches(), samples=15, seed=3))
    np.testing.assert_array_equal(first, again)
    assert len(set(first)) == 20
    assert len(set(first // 10)) == 2


# Nothing changes


def trained(callbacks, **options):
    keras.utils.set_random_seed(2)
    model = network(layers.Dropout(0.3), layers.BatchNormalization(), MCDropout(0.2))
    model.compile("adam", "mse", metrics=["mae"], **options)
    history = fit(model, callbacks)
    history = {k: v for k, v in history.items() if "train_eval" not in k}
    later = np.asarray(model(data()[0], training=True))
    assert leftovers(model) == []
    return history, state(model), later


@pytest.mark.parametrize(
    "options", [{}, slow({"jit_compile": True}), {"steps_per_execution": 2}]
)
def test_training_is_the_same_to_the_last_bit(options):
    without = trained([], **options)
    assert_identical(without, trained([TrainingEvaluation(data())], **options))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    with dtype_policy(policy):
        model = network(layers.Dropout(0.3))
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    history = fit(model, evaluation)
    x, y = data()
    expected = np.mean((np.asarray(model(x)).astype("float32") - y) ** 2)
    np.testing.assert_allclose(evaluation.losses[-1], expected, rtol=2e-2)
    assert np.isfinite(history["train_eval_lag"]).all()


def test_two_replicas_are_as_one_device(two_replicas):
    def train():
        model = network(layers.BatchNormalization(synchronized=True))
        model.compile("sgd", "mse")
        evaluation = TrainingEvaluation(data())
        fit(model, evaluation)
        return evaluation

    alone, together = alone_and_together(two_replicas, train)
    for name in ("losses", "lags", "regularisation_gaps", "generalisation_gaps"):
        np.testing.assert_allclose(
            getattr(together, name), getattr(alone, name), rtol=1e-3, atol=1e-4
        )


def test_a_model_that_its_first_batch_builds_and_another_callback():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [layers.Dense(4, "relu"), layers.Dropout(0.2), layers.Dense(2)]
    )
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    plateau = PerformanceScheduler("train_eval_loss", patience=50)
    fit(model, [evaluation, plateau])
    assert plateau.best == pytest.approx(evaluation.losses.min())


def test_fit_again_adds_and_another_model_starts_again():
    evaluation = TrainingEvaluation(data())
    models = [network(), network()]
    for model in models:
        model.compile("adam", "mse")
    fit(models[0], evaluation)
    fit(models[0], evaluation, epochs=2)
    assert len(evaluation.losses) == 5
    fit(models[1], evaluation, epochs=1)
    assert len(evaluation.losses) == 1


def test_an_error_in_fit_keeps_the_record():
    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    interrupted(model, data(), [evaluation], epoch=1, epochs=3, **FIT)
    assert len(evaluation.losses) == 2
    fit(model, evaluation, epochs=1)
    assert len(evaluation.losses) == 3


# Arguments and plot


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", 0),
        ("samples", 1.5),
        ("batch_size", -1),
        ("seed", -1),
        ("tolerance", 0.0),
        ("tolerance", "much"),
        ("target", "low"),
    ],
)
def test_a_bad_argument_is_named(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be.*Received: {name}="):
        TrainingEvaluation(data(), **{name: value})


def test_the_name_is_the_prefix_in_history():
    model = network()
    model.compile("adam", "mse")
    history = fit(model, TrainingEvaluation(data(), name="sample"))
    assert {"sample_loss", "sample_lag", "sample_generalisation"} <= set(history)


def test_the_plot_shows_the_record():
    pytest.importorskip("matplotlib")
    evaluation = TrainingEvaluation(data())
    with pytest.raises(ValueError, match="nothing to plot"):
        evaluation.plot()
    model = network(layers.Dropout(0.2))
    model.compile("adam", "mse")
    history = fit(model, evaluation)
    lines = {
        line.get_label(): line.get_ydata() for line in evaluation.plot().axes[0].lines
    }
    np.testing.assert_allclose(lines["reported by fit"], history["loss"], rtol=1e-6)
    np.testing.assert_allclose(lines["validation"], history["val_loss"], rtol=1e-6)
    np.testing.assert_allclose(lines["inference mode"], evaluation.losses)
