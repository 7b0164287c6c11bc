"""Models that prepare data in `fit`, `evaluate` and `predict`, or take so many rows.

What the callbacks and the checks hand to such a model is what the model would hand to
Keras, and as many rows as it takes at once.
"""

import keras
import numpy as np
import pytest

from keras_dnn._keras.prediction import batch_for_keras, data_for_keras
from keras_dnn.callbacks import ActivationStatistics, Doctor, TrainingEvaluation
from keras_dnn.diagnostics import check_gradients, preflight
from keras_dnn.initializers import lsuv
from tests.keras_versions import needs_keras

layers = keras.layers
ROWS = 4
"""Of a batch of the stateful model."""


class Scaling(keras.Model):
    """Divides raw pixels by 255 before Keras sees them, as an image task does."""

    def fit(self, x, y=None, **kwargs):
        return super().fit(x / 255, y, **kwargs)

    def evaluate(self, x, y=None, **kwargs):
        return super().evaluate(x / 255, y, **kwargs)

    def predict(self, x, **kwargs):
        return super().predict(x / 255, **kwargs)


class InWords(keras.Model):
    """Looks the numbers of words up before Keras sees them."""

    words = ("a", "film", "good")

    def ids(self, texts):
        return np.array([[self.words.index(w) for w in t.split()] for t in texts])

    def fit(self, x, y=None, **kwargs):
        return super().fit(self.ids(x), y, **kwargs)

    def evaluate(self, x, y=None, **kwargs):
        return super().evaluate(self.ids(x), y, **kwargs)

    def predict(self, x, **kwargs):
        return super().predict(self.ids(x), **kwargs)


def pixels(rows=8):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (rows, 6)).astype("float32")
    return x, (x[:, :1] / 255).astype("float32")


def scaling(kind=Scaling):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, "tanh", name="hidden")(inputs)
    model = kind(inputs, layers.Dense(1)(hidden))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_data_are_those_that_keras_is_handed():
    x, y = pixels()
    model = scaling()
    weights = np.arange(8.0)
    found = data_for_keras(model, (x, y, weights))
    np.testing.assert_array_equal(found[0], x / 255)
    assert found[1] is y
    assert found[2] is weights
    np.testing.assert_array_equal(data_for_keras(model, x), x / 255)
    np.testing.assert_array_equal(batch_for_keras(model, x), x / 255)
    plain = scaling(keras.Model)
    given = (x, y)
    assert data_for_keras(plain, given) is given
    assert batch_for_keras(plain, x) is x


def test_a_model_that_evaluates_by_itself_gets_its_data_as_they_are():
    class ByItself(keras.Model):
        def evaluate(self, x, y=None, **kwargs):
            return float(np.mean(x))

    given = pixels()
    assert data_for_keras(scaling(ByItself), given) is given


def test_what_a_model_raises_before_keras_is_raised():
    with pytest.raises(TypeError, match="unsupported operand"):
        data_for_keras(scaling(), (["a", "b"], None))


def test_an_evaluation_is_that_of_the_models_own_evaluate():
    x, y = pixels()
    model = scaling()
    evaluation, statistics = TrainingEvaluation((x, y)), ActivationStatistics((x, y))
    model.fit(x, y, epochs=1, verbose=0, callbacks=[evaluation, statistics])
    assert evaluation.losses[-1] == pytest.approx(
        model.evaluate(x, y, verbose=0), rel=1e-6
    )
    hidden = np.tanh(
        (x / 255).astype("float64") @ model.layers[1].kernel.numpy()
        + model.layers[1].bias.numpy()
    )
    assert statistics.means[-1][0] == pytest.approx(hidden.mean(), rel=1e-5)


def test_checks_and_initial_weights_are_of_the_prepared_data():
    x, y = pixels()
    model, plain = scaling(), scaling(keras.Model)
    found = preflight(model, x, y, verbose=0)
    expected = preflight(plain, x / 255, y, verbose=0)
    assert [str(f) for f in found.findings] == [str(f) for f in expected.findings]
    ours, theirs = check_gradients(model, x, y), check_gradients(plain, x / 255, y)
    for a, b in zip(ours.automatic, theirs.automatic, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    result = lsuv(model, x, seed=1, verbose=0)
    np.testing.assert_allclose(result.after, 1.0, atol=0.01)
    outputs = keras.Model(model.input, model.outputs)(x / 255).numpy()
    assert outputs.std() == pytest.approx(1.0, abs=0.01)


def test_strings_are_prepared():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,), dtype="int32")
    hidden = layers.Flatten()(layers.Embedding(3, 4)(inputs))
    model = InWords(inputs, layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    x, y = ["a film", "good film", "a a", "good good"], np.ones((4, 1))
    evaluation = TrainingEvaluation((x, y))
    doctor = Doctor((x, y), every=1, verbose=0)
    model.fit(x, y, verbose=0, callbacks=[evaluation, doctor])
    expected = model.evaluate(x, y, verbose=0)
    assert evaluation.losses[-1] == pytest.approx(expected, rel=1e-6)
    assert "dead-units" in doctor.report.checked


@pytest.fixture
def stateful():
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(ROWS, 3, 2))
    hidden = layers.SimpleRNN(3, stateful=True)(inputs)
    model = keras.Model(inputs, layers.Dense(1)(hidden))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def series(rows=3 * ROWS):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 3, 2)).astype("float32")
    return x, x.sum(axis=(1, 2))[:, np.newaxis]


@needs_keras(15, "evaluate a stateful layer on batches of unknown size")
def test_a_stateful_model_is_evaluated_batch_by_batch(stateful):
    x, y = series()
    evaluation = TrainingEvaluation((x, y))
    statistics = ActivationStatistics(x)
    doctor = Doctor((x, y), every=1, verbose=0)
    stateful.fit(
        x,
        y,
        batch_size=ROWS,
        shuffle=False,
        verbose=0,
        callbacks=[evaluation, statistics, doctor],
    )
    state = stateful.layers[1].states[0].numpy()
    outputs = stateful.layers[1](x[:ROWS]).numpy()
    assert statistics.means[-1][0] == pytest.approx(outputs.mean(), rel=1e-5)
    stateful.layers[1].states[0].assign(state)
    expected = stateful.evaluate(x, y, batch_size=ROWS, verbose=0)
    assert evaluation.losses[-1] == pytest.approx(expected, rel=1e-5)
    assert doctor.report.checked


def test_a_stateful_model_is_checked_with_a_batch_of_its_own_size(stateful):
    x, y = series()
    before = [v.numpy() for v in (*stateful.weights, *stateful.layers[1].states)]
    assert len(preflight(stateful, x, y, verbose=0).checked) > 5
    assert check_gradients(stateful, x, y, verbose=0).passed
    after = [v.numpy() for v in (*stateful.weights, *stateful.layers[1].states)]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert lsuv(stateful, x, seed=1, verbose=0).layers


def test_too_few_rows_for_a_stateful_model_are_refused(stateful):
    x, y = series(ROWS - 1)
    with pytest.raises(ValueError, match=r"x must hold at least 4 rows.*\n?.*3 rows"):
        preflight(stateful, x, y, verbose=0)


@needs_keras(15, "restart its global generator in set_random_seed")
def test_an_evaluation_moves_no_global_generator():
    """A layer of one's own may draw from Keras's global seed."""

    class Noise(layers.Layer):
        def call(self, inputs, training=False):
            return (
                inputs + keras.random.normal(keras.ops.shape(inputs))
                if training
                else inputs
            )

    def trained(*callbacks):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((6,)), Noise(), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
        x, y = pixels()
        model.fit(x / 255, y, epochs=2, verbose=0, callbacks=list(callbacks))
        return model.layers[-1].kernel.numpy()

    x, y = pixels()
    np.testing.assert_array_equal(trained(TrainingEvaluation((x / 255, y))), trained())
