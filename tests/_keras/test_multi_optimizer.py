"""Several optimizers as one: Keras's, and ours where Keras has none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn._keras.multi_optimizer import (
    IN_KERAS,
    MultiOptimizer,
    is_multi_optimizer,
    multi_optimizer,
)

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X[:, :1]


def optimizers():
    adam = keras.optimizers.Adam(0.01)
    decay = keras.optimizers.schedules.CosineDecay(0.1, 30)
    sgd = keras.optimizers.SGD(decay, momentum=0.9, use_ema=True)
    return sgd, {"(.*/)?lower/.*": adam, "(.*/)?upper/.*": sgd}


def trained(optimizer, path):
    """The weights after training, and those after a save, a load and more training."""
    keras.utils.set_random_seed(1)
    lower, upper = (keras.layers.Dense(2, name=name) for name in ("lower", "upper"))
    model = keras.Sequential([keras.Input((3,)), lower, upper])
    model.compile(optimizer, "mse")
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    before = model.get_weights()
    model.save(path)
    model = keras.models.load_model(path)
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False)
    return [*before, *model.get_weights()]


@pytest.mark.skipif(not IN_KERAS, reason="Keras has none to compare with")
def test_ours_trains_saves_and_loads_as_that_of_keras(tmp_path):
    ours = trained(MultiOptimizer(*optimizers()), tmp_path / "ours.keras")
    keras_own = trained(multi_optimizer(*optimizers()), tmp_path / "keras.keras")
    for a, b in zip(ours, keras_own, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [MultiOptimizer, multi_optimizer])
def test_each_optimizer_updates_its_own_variables(make):
    weights = [keras.Variable(0.0, name=name) for name in ("a", "b", "c")]
    default, one = keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.5)
    each = make(default, {"a": one, "b": one})
    assert is_multi_optimizer(each)
    assert not is_multi_optimizer(one)
    for _ in range(2):
        each.apply([tf.constant(1.0)] * 3, weights)
    assert [float(w) for w in weights] == [-1.0, -1.0, -2.0]
    assert int(each.iterations) == 2
    assert len(each.variables) == 6
    assert [int(part.iterations) for part in each.optimizers] == [2, 2]


def test_two_patterns_for_one_variable_are_an_error():
    sgd = keras.optimizers.SGD(1.0)
    each = MultiOptimizer(sgd, {"a": sgd, ".*": sgd})
    with pytest.raises(ValueError, match="2 patterns that match 'a'"):
        each.build([keras.Variable(0.0, name="a")])


def test_there_is_no_common_learning_rate():
    each = MultiOptimizer(keras.optimizers.SGD(1.0), {})
    with pytest.raises(AttributeError, match="attribute `optimizers`"):
        _ = each.learning_rate
    with pytest.raises(AttributeError, match=r"Received: learning_rate=0\.5"):
        each.learning_rate = 0.5
