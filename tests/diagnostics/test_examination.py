"""What one pass through a model shows, against Keras and NumPy."""

import keras
import numpy as np
import pytest

from keras_dnn.diagnostics import Examination
from tests.diagnostics import networks

layers = keras.layers


def examined(model, data=None, given=None):
    x, y = networks.digits() if data is None else data
    return Examination(model, x, y, None, given or (x, y))


def test_loss_and_penalty_are_separate():
    model = networks.network(depth=1, kernel_regularizer=keras.regularizers.L2(0.1))
    examination = examined(model)
    kernel = model.layers[0].kernel.numpy().astype("float64")
    assert examination.penalty == pytest.approx(0.1 * np.sum(kernel**2), rel=1e-5)
    total = model.evaluate(*networks.digits(), verbose=0)
    assert examination.loss + examination.penalty == pytest.approx(total, rel=1e-5)


def test_outputs_and_gradients_are_those_of_a_closed_form():
    """The squared error of a linear layer: its gradient is 2 x (xw - y) / n."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 8, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, use_bias=False)])
    model.compile("sgd", "mse")
    examination = examined(model, (x, y))
    outputs = x @ model.layers[0].kernel.numpy()
    np.testing.assert_allclose(examination.outputs[0], outputs, rtol=1e-5)
    gradient = 2 * x.T @ (outputs - y) / y.size
    assert examination.gradients == (pytest.approx(np.linalg.norm(gradient), rel=1e-5),)
    (signal,) = examination.layers
    assert signal.is_output
    assert signal.rms == pytest.approx(np.sqrt(np.mean(outputs**2)), rel=1e-5)
    error = 2 * (outputs - y) / y.size
    assert signal.gradient_norm == pytest.approx(np.linalg.norm(error), rel=1e-5)
    assert examination.weighted == []


def test_a_variable_that_the_loss_does_not_depend_on_has_no_gradient():
    inputs = keras.Input((20,))
    hidden = layers.Dense(4)(inputs)
    unused = keras.ops.stop_gradient(layers.Dense(4, use_bias=False)(inputs))
    model = keras.Model(inputs, layers.Dense(4, "softmax")(hidden + unused))
    model.compile("sgd", "sparse_categorical_crossentropy")
    gradients = examined(model).gradients
    assert [norm is None for norm in gradients].count(True) == 1


def test_noise_is_off_only_for_the_loss_without_noise():
    model = networks.network(depth=1)
    noisy = keras.Sequential(
        [keras.Input((20,)), layers.GaussianNoise(1.0), *model.layers]
    )
    noisy.compile("sgd", "sparse_categorical_crossentropy")
    examination = examined(noisy)
    quiet = noisy.evaluate(*networks.digits(), verbose=0)
    assert examination.loss_without_noise == pytest.approx(quiet, rel=1e-5)
    assert abs(examination.loss - quiet) > 0.01 * quiet
    assert noisy.layers[0].stddev == 1.0


def test_all_inputs_and_targets_are_known():
    """Also those outside the batch."""
    x, y = networks.digits()
    examination = examined(networks.network(), (x[:8], y[:8]), given=(x, y))
    np.testing.assert_array_equal(examination.inputs[0], x)
    np.testing.assert_array_equal(examination.targets[0], y)
    assert len(examination.outputs[0]) == 8


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (lambda: layers.Rescaling(3.0), lambda x: [3 * x]),
        (layers.Flatten, lambda x: [x]),
        (layers.BatchNormalization, lambda x: []),
    ],
)
def test_what_enters_the_first_layer_with_weights(first, expected):
    model = keras.Sequential([keras.Input((20,)), first(), layers.Dense(4, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    found, wanted = examined(model).entering, expected(networks.digits()[0])
    assert len(found) == len(wanted)
    for array, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(array, right, rtol=1e-6)


def test_nothing_is_measured_before_a_check_asks():
    class Fails(layers.Layer):
        def call(self, x):
            raise RuntimeError("called")

    model = keras.Sequential([Fails()])
    model.compile("sgd", "mse")
    examination = examined(model)
    assert examination.inputs
    with pytest.raises(RuntimeError, match="called"):
        _ = examination.loss
