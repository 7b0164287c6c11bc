"""Models that override `predict` or `predict_step`: samples are those of `predict`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_dnn.models import export_monte_carlo, mc_predict
from tests.models.mc_cases import NEVER, normal

X = normal(5, 6)


def functional(cls):
    keras.utils.set_random_seed(1)
    x = keras.Input((6,))
    hidden = layers.Dropout(NEVER)(layers.Dense(8, "relu")(x))
    return cls(x, layers.Dense(3, "softmax")(hidden), name="mine")


class Task(keras.Model):
    """It preprocesses a data set in `predict`, as the tasks of KerasHub do."""

    def preprocess(self, x):
        return 3 * tf.cast(x, "float32")

    def predict(self, x, batch_size=None, steps=None, **kwargs):
        if not isinstance(x, tf.data.Dataset):
            x = tf.data.Dataset.from_tensor_slices(x).batch(batch_size or 32)
        elif batch_size is not None:
            raise ValueError("batch_size of a data set")
        return super().predict(x=x.map(self.preprocess), steps=steps, **kwargs)


class Scaled(keras.Model):
    def predict(self, x):
        return super().predict(3 * np.asarray(x), verbose=0)


class Logarithms(keras.Model):
    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return ops.log(self(3 * x, training=False))


@pytest.mark.parametrize("cls", [Task, Scaled, Logarithms])
def test_samples_are_those_of_predict(cls):
    model = functional(cls)
    expected = model.predict(X)
    assert np.abs(model(X) - expected).max() > 1e-2
    found = mc_predict(model, X, 3, batch_size=2, seed=1, verbose=0)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-5)


@pytest.mark.parametrize("cls", [Task, Logarithms])
def test_samples_of_a_data_set_are_those_of_predict(cls):
    model, data = functional(cls), tf.data.Dataset.from_tensor_slices(X).batch(2)
    found = mc_predict(model, data, 3, seed=1, verbose=0)
    np.testing.assert_allclose(found.mean, model.predict(data, verbose=0), rtol=1e-5)


def test_predict_is_keras_own_again():
    before = keras.Model.predict
    mc_predict(functional(Task), X, 2, verbose=0)
    assert keras.Model.predict is before
    assert "predict" not in vars(keras.Model)


class Classes(keras.Model):
    def predict(self, x, **kwargs):
        return super().predict(x, **kwargs).argmax(-1)


class Twice(keras.Model):
    def predict(self, x, **kwargs):
        super().predict(x[:1], **kwargs)
        return super().predict(x, **kwargs)


@pytest.mark.parametrize("cls", [Classes, Twice])
def test_what_is_computed_from_predictions_is_refused(cls):
    remedy = rf"predict of {cls.__name__} changes.*keras.Model\(model.inputs"
    with pytest.raises(ValueError, match=remedy):
        mc_predict(functional(cls), X, 2, verbose=0)


@pytest.mark.parametrize("cls", [Task, Logarithms])
def test_what_a_file_would_not_compute_is_refused(cls, tmp_path):
    with pytest.raises(ValueError, match=rf"predict as Keras does.*{cls.__name__}"):
        export_monte_carlo(functional(cls), tmp_path / "mc", 2)


def test_the_functional_model_inside_is_named(tmp_path):
    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = functional(keras.Model)

        def call(self, x):
            return self.network(x)

    with pytest.raises(ValueError, match=r"functional model inside, model\.network"):
        export_monte_carlo(Outer(), tmp_path / "mc", 2)
