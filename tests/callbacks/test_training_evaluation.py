"""`TrainingEvaluation`: honest losses, gaps that add up, verdicts, and no traces."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import PerformanceScheduler, TrainingEvaluation
from keras_dnn.layers import MCDropout
from tests.callbacks.gradient_replay import parts, traces_of_ours

layers = keras.layers


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


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


def fit(model, evaluation, epochs=3, **options):
    x, y = data()
    options = {"validation_data": data(seed=6), "batch_size": 8} | options
    probes = evaluation if isinstance(evaluation, list) else [evaluation]
    return model.fit(
        x, y, epochs=epochs, shuffle=False, verbose=0, callbacks=probes, **options
    ).history


class AtEpochEnd(keras.callbacks.Callback):
    def __init__(self, compute):
        super().__init__()
        self.compute = compute
        self.values = []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(self.compute())


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

    watch = AtEpochEnd(by_hand)
    history = fit(model, [evaluation, watch])
    losses, maes = np.transpose(watch.values)
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

    watch = AtEpochEnd(by_hand)
    fit(model, [evaluation, watch])
    np.testing.assert_allclose(
        evaluation.regularisation_gaps, watch.values, rtol=1e-3, atol=1e-5
    )


def test_dropout_costs_what_many_draws_say():
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


# The part


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
    """Which rows it looks at in each epoch; the first feature is their number."""
    watch = Rows()
    model = keras.Sequential([keras.Input((2,)), watch, layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.zeros((8, 2))
    model.fit(x, x[:, :1], epochs=epochs, verbose=0, callbacks=[evaluation])
    seen = np.concatenate(watch.seen).astype(int)
    return seen.reshape(epochs, -1)


def numbered(samples=50):
    x = np.stack([np.arange(samples), np.ones(samples)], axis=1).astype("float32")
    return x, x[:, :1]


def test_the_part_is_drawn_once_by_the_seed():
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


# Verdicts


def rule(row, tolerance, target, dropout):
    """The docstring's, anew."""
    loss, regularisation, generalisation = row
    measure = max(abs(loss + generalisation), abs(loss))
    if not np.isfinite(generalisation):
        return "unknown"
    if generalisation > tolerance * measure:
        return "overfitting"
    noisy = regularisation > tolerance * measure and regularisation > generalisation
    if noisy or (target is not None and loss > target):
        return "underfitting"
    return "fine"


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.8])
@pytest.mark.parametrize("target", [None, 0.5])
def test_every_verdict_follows_the_rule(rate, target):
    model = network(layers.Dropout(rate))
    model.compile(keras.optimizers.Adam(0.03), "mse")
    evaluation = TrainingEvaluation(data(), tolerance=0.15, target=target)
    watch = AtEpochEnd(lambda: evaluation.verdict)
    fit(model, [evaluation, watch], epochs=12)
    rows = zip(
        evaluation.losses,
        evaluation.regularisation_gaps,
        evaluation.generalisation_gaps,
        strict=True,
    )
    expected = [rule(row, 0.15, target, rate) for row in rows]
    assert watch.values == expected


def test_random_labels_are_overfitted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype("float32")
    y, y_valid = rng.normal(size=(2, 60, 2)).astype("float32")
    model = network(layers.Dense(64, "relu"), layers.Dropout(0.05))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    evaluation = TrainingEvaluation((x, y))
    model.fit(
        x, y, validation_data=(x, y_valid), epochs=40, verbose=0, callbacks=[evaluation]
    )
    assert evaluation.verdict == "overfitting"
    assert "Raise the dropout rate (now 0.05)" in evaluation.advice


def test_too_much_dropout_is_underfitting():
    model = network(layers.Dropout(0.9))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    evaluation = TrainingEvaluation(data())
    fit(model, evaluation, epochs=20)
    assert evaluation.verdict == "underfitting"
    assert "Lower the dropout rate (now 0.9)" in evaluation.advice


def test_without_dropout_the_advice_is_to_add_it():
    model = network()
    model.compile(keras.optimizers.Adam(0.05), "mse")
    evaluation = TrainingEvaluation(data(), tolerance=1e-6)
    fit(model, evaluation, epochs=20)
    assert evaluation.verdict == "overfitting"
    assert "Add dropout" in evaluation.advice


def test_without_validation_nothing_is_known():
    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    assert evaluation.verdict == "unknown"
    fit(model, evaluation, validation_data=None)
    assert evaluation.verdict == "unknown"
    assert "validation_data" in evaluation.advice
    assert np.isnan(evaluation.generalisation_gaps).all()
    assert np.isfinite(evaluation.losses).all()


def test_epochs_without_validation_are_passed_over():
    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    fit(model, evaluation, validation_freq=2)
    assert np.isnan(evaluation.generalisation_gaps).tolist() == [True, False, True]
    assert evaluation.verdict != "unknown"


# Nothing changes


def trained(probes, **options):
    keras.utils.set_random_seed(2)
    model = network(layers.Dropout(0.3), layers.BatchNormalization(), MCDropout(0.2))
    model.compile("adam", "mse", metrics=["mae"], **options)
    history = fit(model, probes)
    history = {k: v for k, v in history.items() if "train_eval" not in k}
    state = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    later = np.asarray(model(data()[0], training=True))
    return history, state, later, model


@pytest.mark.parametrize(
    "options", [{}, slow({"jit_compile": True}), {"steps_per_execution": 2}]
)
def test_training_is_the_same_to_the_last_bit(options):
    history, state, later, _ = trained([], **options)
    evaluation = TrainingEvaluation(data())
    with_it, other, also_later, model = trained([evaluation], **options)
    assert with_it == history
    for one, two in zip(state, other, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(later, also_later)
    assert traces_of_ours(*parts(model)) == []


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    model = network(layers.Dropout(0.3))
    keras.config.set_dtype_policy(before)
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    history = fit(model, evaluation)
    x, y = data()
    expected = np.mean((np.asarray(model(x)).astype("float32") - y) ** 2)
    np.testing.assert_allclose(evaluation.losses[-1], expected, rtol=2e-2)
    assert np.isfinite(history["train_eval_lag"]).all()


def test_two_replicas_are_as_one_device(two_replicas):
    def run():
        model = network(layers.BatchNormalization(synchronized=True))
        model.compile("sgd", "mse")
        evaluation = TrainingEvaluation(data())
        fit(model, evaluation)
        return evaluation

    alone = run()
    with two_replicas.scope():
        together = run()
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


def test_fit_again_adds_and_another_model_begins_anew():
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
    class Raises(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("planned")

    model = network()
    model.compile("adam", "mse")
    evaluation = TrainingEvaluation(data())
    with pytest.raises(RuntimeError, match="planned"):
        fit(model, [evaluation, Raises()])
    assert len(evaluation.losses) == 2
    fit(model, evaluation, epochs=1)
    assert len(evaluation.losses) == 3


# Arguments and pictures


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


def test_the_name_stands_before_what_history_gets():
    model = network()
    model.compile("adam", "mse")
    history = fit(model, TrainingEvaluation(data(), name="honest"))
    assert {"honest_loss", "honest_lag", "honest_generalisation"} <= set(history)


def test_the_picture_shows_the_record():
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
