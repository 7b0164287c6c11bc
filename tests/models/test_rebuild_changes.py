"""rebuild replaces, adds and drops layers."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models.rebuild import rebuild
from tests.keras_versions import needs_keras
from tests.models.rebuild_cases import functional, nested, normal, scrambled, shared


def test_a_layer_is_replaced_everywhere_it_is_used():
    model = functional(shared, (4,))
    new = layers.Dense(4, "relu", name="new")
    copy = rebuild(model, lambda x: new if isinstance(x, layers.Dense) else x)
    assert sum(layer is new for layer in copy.layers) == 1
    assert len(new._inbound_nodes) == 2
    assert "new" not in [x.name for x in model.layers]


def test_a_layer_in_a_nested_model_is_replaced():
    model = functional(nested, (4,))
    copy = rebuild(
        model,
        lambda x: layers.Dense(4, name="new") if x.name == "inner" else x,
    )
    assert [x.name for x in copy.get_layer("block").layers][-1] == "new"


@pytest.mark.parametrize("kind", [layers.BatchNormalization, layers.Dropout])
def test_a_layer_is_dropped(kind):
    model = scrambled(
        keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(3, name="a"),
                layers.BatchNormalization(name="n"),
                layers.Dropout(0.5, name="d"),
                layers.Dense(2, name="b"),
            ]
        )
    )
    copy = rebuild(model, lambda x: None if isinstance(x, kind) else x)
    assert type(copy) is keras.Sequential
    assert len(copy.layers) == 3
    x = normal(3, 4)
    expected = x
    for layer in model.layers:
        expected = expected if isinstance(layer, kind) else layer(expected)
    np.testing.assert_allclose(copy(x), expected, rtol=1e-5, atol=1e-6)


def test_a_dropped_layer_at_the_end_and_in_a_branch():
    def branches(x):
        y = layers.Dense(4, name="a")(x)
        return layers.Dropout(0.5, name="d1")(layers.Dropout(0.5, name="d2")(y) + y)

    model = functional(branches, (4,))
    copy = rebuild(model, lambda x: None if isinstance(x, layers.Dropout) else x)
    assert not any(isinstance(x, layers.Dropout) for x in copy.layers)
    np.testing.assert_array_equal(copy(normal(3, 4)), model(normal(3, 4)))


def test_a_layer_called_by_keyword_is_dropped():
    model = functional(lambda x: layers.Dropout(0.5)(inputs=x) + 1, (4,))
    copy = rebuild(model, lambda x: None if isinstance(x, layers.Dropout) else x)
    np.testing.assert_array_equal(copy(normal(3, 4)), normal(3, 4) + 1)


def test_inner_layers_of_a_wrapper_are_not_offered():
    seen = []

    def look(layer):
        seen.append(layer.name)
        return layer

    wrapper = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")
    rebuild(functional(wrapper, (3, 4)), look)
    assert "both" in seen
    assert not any("lstm" in name for name in seen)


def test_layers_are_added_before_and_behind_one():
    dense = layers.Dense(4, "tanh", name="d")
    model = scrambled(functional(lambda x: dense(dense(x)), (4,)))
    halved, shifted = layers.Rescaling(0.5), layers.Rescaling(1.0, 3.0)
    copy = rebuild(model, lambda x: [halved, x, shifted] if x is dense else x)
    x, expected = normal(3, 4), normal(3, 4)
    for _ in range(2):
        expected = dense(0.5 * expected) + 3.0
    np.testing.assert_allclose(copy(x), expected, rtol=1e-6)
    assert sum(isinstance(layer, layers.Dense) for layer in copy.layers) == 1


@needs_keras(15, "have models with unconnected inputs")
def test_an_empty_list_drops_a_layer():
    model = functional(layers.Rescaling(2.0), (4,))
    copy = rebuild(model, lambda x: [])
    np.testing.assert_array_equal(copy(normal(3, 4)), normal(3, 4))


def test_a_layer_that_is_built_keeps_its_weights():
    def linear(layer):
        new = layers.Dense(3, name=layer.name)
        new.build_from_config(layer.get_build_config())
        new.set_weights(layer.get_weights())
        return new

    model = functional(layers.Dense(3, "relu", name="d"), (4,))
    found = np.array(rebuild(model, linear)(normal(9, 4)))
    np.testing.assert_array_equal(np.maximum(found, 0), model(normal(9, 4)))
    assert found.min() < 0


def test_a_new_layer_is_called_as_the_old_one_was():
    """With its mask, and with its own choice of mode."""
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(7, 4, mask_zero=True, name="e")(x)
    y = layers.Dropout(0.5, name="d")(y, training=True)
    model = scrambled(keras.Model(x, layers.GRU(2, name="r")(y)))
    new = {"d": layers.GaussianDropout(0.5, seed=1), "r": layers.LSTM(2, name="r")}
    copy = rebuild(model, lambda layer: new.get(layer.name, layer))
    words = np.array([[1, 2, 0, 0, 0]])
    assert not np.allclose(copy(words), copy(words)), "training=True is lost"
    new = {"d": None, "r": layers.LSTM(2, name="r")}
    copy = rebuild(model, lambda layer: new.get(layer.name, layer))
    embedded = copy.get_layer("e")(words[:, :2])
    expected = copy.get_layer("r")(embedded)
    np.testing.assert_allclose(copy(words), expected, rtol=1e-5)


def add(x):
    return layers.Add(name="add")([layers.Dense(4, name="a")(x), x])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"add": None}, "'add' cannot be dropped, since it takes several tensors"),
        ({"a": "tanh"}, "Received: 'tanh' for the layer 'a'"),
        ({"a": ["tanh"]}, r"Received: \['tanh'\] for the layer 'a'"),
        ({"add": layers.Identity()}, "as many tensors. Received: 2 for 1"),
    ],
)
def test_what_does_not_fit_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        rebuild(functional(add, (4,)), lambda x: change.get(x.name, x))


def test_a_layer_that_would_need_other_weights_is_an_error():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")]
    )
    with pytest.raises(ValueError, match="'b' must get inputs of the shape"):
        rebuild(model, lambda x: None if x.name == "a" else x)


def test_layers_of_the_model_stay_its_own():
    model = functional(add, (4,))
    dense = model.get_layer("a")
    with pytest.raises(ValueError, match="the layer 'a' of the model for 'add'"):
        rebuild(model, lambda x: dense if x.name == "add" else x)
