"""Frames of pandas and tensors of PyTorch give what the same arrays give."""

import keras
import numpy as np
import pytest

from keras_dnn.diagnostics import check_gradients, preflight
from keras_dnn.models import mc_predict, prune
from keras_dnn.tuning import find_learning_rate

X = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype(int)


def model():
    keras.utils.set_random_seed(1)
    stack = [
        keras.layers.Dense(8, "relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2, "softmax"),
    ]
    built = keras.Sequential([keras.Input((4,)), *stack])
    built.compile("adam", "sparse_categorical_crossentropy")
    built.optimizer.build(built.trainable_variables)
    return built


def pandas_data():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=list("abcd")), pandas.Series(Y)


def torch_data():
    torch = pytest.importorskip("torch")
    return torch.tensor(X), torch.tensor(Y)


CALLS = {
    "preflight": lambda x, y: (
        preflight(model(), 100 * x, y, verbose=0).findings[0].name
        == "inputs-not-standardised"
    ),
    "check_gradients": lambda x, y: (
        check_gradients(model(), x, y, verbose=0).difference
    ),
    "find_learning_rate": lambda x, y: (
        find_learning_rate(model(), x, y, steps=12, seed=0, verbose=0).losses
    ),
    "mc_predict": lambda x, y: mc_predict(model(), x, 3, seed=1, verbose=0).mean,
    "prune": lambda x, y: prune(model(), 0.5, data=x, verbose=0).max_difference,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("data", [pandas_data, torch_data])
def test_the_result_is_that_of_the_arrays(data, name):
    given = data()
    np.testing.assert_array_equal(CALLS[name](*given), CALLS[name](X, Y))
