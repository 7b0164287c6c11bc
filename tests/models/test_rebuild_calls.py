"""rebuild replaces and drops single calls."""

import keras
import numpy as np
from keras import layers, ops

from keras_dnn._keras.graph import graph_of
from keras_dnn.models._rebuilding import call_key, rebuilt
from tests.models.rebuild_cases import functional, normal, scrambled


def calls_of(model, name):
    nodes = graph_of(model).nodes
    return [call_key(model, n) for n in nodes if n.operation.name == name]


def test_a_single_call_is_replaced():
    """The other call of the layer stays as it is."""
    dense = layers.Dense(4, "tanh", name="d")
    model = scrambled(functional(lambda x: dense(layers.ReLU()(dense(x))), (4,)))
    parts = [layers.Dense(4, name="e"), layers.Softmax()]
    copy = rebuilt(model, calls={calls_of(model, "d")[1]: parts})
    x = normal(3, 4)
    expected = parts[1](parts[0](ops.relu(dense(x))))
    np.testing.assert_allclose(copy(x), expected, rtol=1e-6)
    assert graph_of(copy).nodes[0].operation.name == "d"


def test_a_single_call_is_dropped():
    drop = layers.Rescaling(2.0, name="s")
    model = functional(lambda x: drop(layers.ReLU()(drop(x))), (4,))
    copy = rebuilt(model, calls={calls_of(model, "s")[0]: []})
    x = normal(3, 4)
    np.testing.assert_array_equal(copy(x), 2 * np.maximum(x, 0))


def test_a_call_with_a_mask_is_dropped():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(7, 4, mask_zero=True)(x)
    y = layers.BatchNormalization(name="n")(y)
    model = scrambled(keras.Model(x, layers.LSTM(2)(y)))
    copy = rebuilt(model, calls={calls_of(model, "n")[0]: []})
    words, shorter = np.array([[1, 2, 0, 0, 0]]), np.array([[1, 2, 0]])
    expected = model.layers[-1](
        model.layers[1](shorter), mask=ops.not_equal(shorter, 0)
    )
    np.testing.assert_allclose(copy(words), expected, rtol=1e-5)


def test_calls_in_a_sequential_in_a_nested_and_in_a_timed_model():
    def inner(shape):
        return keras.Sequential([keras.Input(shape), layers.Rescaling(3.0, name="s")])

    timed, nested = inner((4,)), inner((2, 4))
    last = layers.Rescaling(5.0, name="s")
    parts = [layers.TimeDistributed(timed, name="t"), nested, last]
    model = keras.Sequential([keras.Input((2, 4)), *parts])
    calls = {
        calls_of(timed, "s")[0]: [layers.Rescaling(11.0)],
        calls_of(nested, "s")[0]: [layers.Rescaling(2.0), layers.Rescaling(7.0)],
        calls_of(model, "s")[0]: [layers.Rescaling(1.0, 1.0)],
    }
    x = normal(3, 2, 4)
    np.testing.assert_allclose(rebuilt(model, calls=calls)(x), 154 * x + 1, rtol=1e-5)
    np.testing.assert_allclose(rebuilt(model)(x), 45 * x, rtol=1e-5)
