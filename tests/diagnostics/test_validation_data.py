"""Validation data are compared with training data before training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.diagnostics import Examination, preflight, registered_checks

layers = keras.layers
RNG = np.random.default_rng(3)
X = RNG.normal(size=(400, 5)).astype("float32")
Y = (np.arange(400) % 4 == 0).astype("int32")
NEW, LABELS = RNG.normal(size=(100, 5)).astype("float32"), Y[:100]
CHECK = next(check for check in registered_checks() if check.name == "validation-data")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def found(model, x, y, new, labels):
    return CHECK.findings(Examination(model, x, y, None, (x, y), (new, labels)))


def with_rows(count):
    return np.concatenate([X[:count], NEW[count:]])


def with_shift(shift, count=3):
    """So far from the mean, in standard deviations, for some features."""
    new = (NEW - NEW.mean(axis=0)) / NEW.std(axis=0) * X.std(axis=0)
    return new + X.mean(axis=0) + shift * X.std(axis=0) * (np.arange(5) < count)


@pytest.mark.parametrize(
    ("healthy", "sick", "message"),
    [
        (with_rows(1), with_rows(2), "2 of 100 validation examples"),
        (with_rows(1).astype("float64"), with_rows(2).astype("float64"), "2 of 100"),
        (1.9 * NEW, 4 * NEW, "another scale"),
        (0.6 * NEW, 0.2 * NEW, "another scale"),
        (with_shift(4, count=2), with_shift(4), "another scale"),
        (with_shift(1.9), with_shift(2.5), "another scale"),
        (NEW, NEW.astype("int32"), "int32 in validation"),
        (NEW, NEW.astype(str), "other dtypes"),
        (NEW, NEW[:, :, None], "other dtypes or ranks"),
    ],
)
def test_inputs(model, healthy, sick, message):
    assert not found(model, X, Y, healthy, LABELS)
    assert message in found(model, X, Y, sick, LABELS)[0].message


def test_a_class_of_which_ten_were_expected(model):
    # A quarter of the examples are of class 1.
    none = np.zeros(40, "int32")
    assert not found(model, X, Y, NEW[:39], none[:39])
    (finding,) = found(model, X, Y, NEW[:40], none)
    assert finding.message.startswith("1 of 2 classes are missing from the validation")
    (finding,) = found(model, NEW[:40], none, X, Y)
    assert "missing from the training data, such as class 1" in finding.message


def test_rows_of_few_integers_are_equal_by_chance(model):
    x, new = RNG.integers(0, 2, (400, 5)), RNG.integers(0, 2, (100, 5))
    assert not found(model, x, Y, new, LABELS)


def test_targets_of_a_regression_on_another_scale():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1)])
    model.compile("adam", "mse")
    y = X[:, :1]
    assert not found(model, X, y, NEW, NEW[:, :1])
    (finding,) = found(model, X, y, NEW, 100 * NEW[:, :1])
    assert finding.message.startswith("The targets of the validation data")


def test_every_form_of_validation_data(model):
    data = (255 * NEW, LABELS)
    batches = tf.data.Dataset.from_tensor_slices(data).batch(32)
    for given in (data, [*data], (*data, np.ones(100)), batches):
        report = preflight(model, X, Y, validation_data=given, verbose=0)
        assert report.named("validation-data")[0].evidence["validation_std"] > 200
    assert "validation-data" not in preflight(model, X, Y, verbose=0).checked
    with pytest.raises(ValueError, match="validation_data must be"):
        preflight(model, X, Y, validation_data=3)
