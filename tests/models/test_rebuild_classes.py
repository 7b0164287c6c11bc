"""rebuild on models and layers whose classes are the user's."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models.pruning import prune
from keras_dnn.models.rebuild import rebuild
from tests.models.rebuild_cases import functional, normal, scrambled


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    "make",
    [Subclassed, lambda: keras.Sequential([layers.Dense(2)])],
    ids=["sub", "unbuilt"],
)
def test_a_model_without_a_graph_cannot_be_changed(make):
    with pytest.raises(ValueError, match="Received: model="):
        rebuild(make(), lambda layer: layer)


def test_a_subclassed_model_is_copied_by_its_config():
    model = Subclassed()
    model(normal(3, 4))
    model.dense.trainable = False
    copy = rebuild(scrambled(model))
    assert type(copy) is Subclassed
    assert copy.dense is not model.dense
    assert not copy.dense.trainable
    np.testing.assert_array_equal(copy(normal(3, 4)), model(normal(3, 4)))
    assert rebuild(model, dtype="float64").dense.kernel.dtype == "float64"


def test_a_model_that_is_not_built_is_copied():
    copy = rebuild(keras.Sequential([layers.Dense(2, name="d")]))
    assert not copy.built
    assert [layer.name for layer in copy.layers] == ["d"]


class Trained(keras.Model):
    """A functional model with its own training step."""

    def train_step(self, data):
        return {"answer": 42.0}


class TrainedInOrder(keras.Sequential):
    def train_step(self, data):
        return {"answer": 42.0}


class Sized(keras.Model):
    """One with its own constructor."""

    def __init__(self, size, **kwargs):
        x = keras.Input((4,))
        super().__init__(x, layers.Dense(size)(x), **kwargs)
        self.size = size

    def get_config(self):
        return {"size": self.size, "name": self.name}


def test_a_class_that_overrides_methods_is_kept():
    x = keras.Input((4,))
    models = [
        Trained(x, layers.Dense(2)(x), name="t"),
        TrainedInOrder([x, layers.Dense(2)]),
    ]
    for model in models:
        copy = rebuild(model)
        assert type(copy) is type(model)
        copy.compile("sgd", "mse")
        history = copy.fit(normal(3, 4), normal(3, 2), verbose=0).history
        assert history == {"answer": [42.0]}
        np.testing.assert_array_equal(copy(normal(3, 4)), model(normal(3, 4)))


def test_a_class_with_its_own_constructor_is_kept_where_nothing_changes():
    model = Sized(3)
    copy = rebuild(model)
    assert type(copy) is Sized
    assert copy.size == 3
    np.testing.assert_array_equal(copy(normal(3, 4)), model(normal(3, 4)))
    changed = rebuild(model, lambda layer: layer)
    assert not isinstance(changed, Sized)
    np.testing.assert_array_equal(changed(normal(3, 4)), model(normal(3, 4)))


def test_what_its_constructor_does_not_know_is_copied_by_its_graph():
    model = Sized(3)
    model.layers[-1].enable_lora(2)
    copy = rebuild(scrambled(model))
    assert not isinstance(copy, Sized)
    np.testing.assert_array_equal(copy(normal(3, 4)), model(normal(3, 4)))


class Stubborn(Subclassed):
    def get_config(self):
        raise NotImplementedError


def test_a_subclassed_model_without_a_config_is_copied_as_an_object():
    model = Stubborn()
    model.names = {"kept": ["in", "a dict"]}
    expected = model(normal(3, 4))
    copy = rebuild(model)
    assert type(copy) is Stubborn
    assert copy.names == model.names
    assert not set(map(id, copy.variables)).intersection(map(id, model.variables))
    np.testing.assert_array_equal(copy(normal(3, 4)), expected)


def test_a_change_in_a_subclassed_model_is_refused():
    model = Stubborn()
    with pytest.raises(ValueError, match=r"is not known\. Give a functional model of"):
        prune(model, 0.5)
    model.body = functional(layers.Dense(2), (4,))
    with pytest.raises(ValueError, match=r"functional model inside, model\.body"):
        prune(model, 0.5)


def test_a_nested_subclassed_model_is_copied_as_a_layer():
    model = scrambled(functional(Subclassed(), (4,)))
    copy = rebuild(model)
    np.testing.assert_array_equal(copy(normal(3, 4)), model(normal(3, 4)))


class Twice(layers.Layer):
    """Not registered, as in most notebooks."""

    def call(self, x):
        return 2 * x

    def compute_output_shape(self, shape):
        return shape


def test_a_class_of_the_user_in_a_wrapper_is_copied():
    model = functional(layers.TimeDistributed(Twice()), (2, 4))
    np.testing.assert_array_equal(rebuild(model)(normal(3, 2, 4)), 2 * normal(3, 2, 4))
