"""Which layers mc_predict samples from, and what changes between its calls."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.layers import MCDropout
from keras_dnn.models import mc_predict
from tests.models.mc_cases import (
    NEVER,
    AlwaysOn,
    classifier,
    normal,
    of,
    only_dropout,
)

# Which layers


def panel():
    """A column for each layer with dropout."""
    x = keras.Input((1,))
    y = keras.Input((1,))
    inner = keras.Model(
        y,
        layers.Concatenate()(
            [layers.Dropout(0.5, name="c")(y), MCDropout(0.5, name="d")(y)]
        ),
        name="inner",
    )
    columns = [
        layers.Dropout(0.5, name="a")(x),
        MCDropout(0.5, name="b")(x),
        inner(x),
        layers.GaussianDropout(0.5, name="e")(x),
        layers.Identity(name="nothing")(x),
    ]
    return keras.Model(x, layers.Concatenate(name="together")(columns))


@pytest.mark.parametrize(
    ("chosen", "on"),
    [
        (None, "abcde"),
        (["a"], "a"),
        (["b"], "b"),
        (["c"], "c"),
        (["inner"], "cd"),
        (["inner", "a"], "acd"),
        (["a", "a"], "a"),
        (("e", "d"), "de"),
    ],
    ids=str,
)
def test_only_chosen_layers_are_on(chosen, on):
    std = mc_predict(panel(), np.ones((1, 1)), 60, layers=chosen).std[0]
    assert [c for c, s in zip("abcde-", std, strict=True) if s > 0] == list(on)


def test_layers_are_chosen_by_object():
    model = panel()
    chosen = [model.get_layer("b"), model.get_layer("inner")]
    std = mc_predict(model, np.ones((1, 1)), 60, layers=chosen).std[0]
    assert (std > 0).tolist() == [False, True, True, True, False, False]


def test_off_layers_are_the_identity():
    mean = mc_predict(panel(), np.ones((1, 1)), 5, layers=["a"]).mean[0]
    np.testing.assert_array_equal(mean[1:], np.ones(5))


def test_a_choice_holds_for_one_call_only():
    model, x = panel(), np.ones((1, 1))
    mc_predict(model, x, 60, layers=["a"])
    assert np.all(mc_predict(model, x, 60).std[0, :-1] > 0)
    assert np.all(mc_predict(model, x, 60, layers=["e"]).std[0, :4] == 0)


def test_a_users_dropout_stays_off_when_not_chosen():
    x = keras.Input((1,))
    model = keras.Model(
        x, [layers.Dropout(0.5, name="chosen")(x), AlwaysOn(0.5, name="other")(x)]
    )
    prediction = mc_predict(model, np.ones((5, 1)), 60, layers=["chosen"])
    assert np.all(prediction.std[0] > 0)
    np.testing.assert_array_equal(prediction.mean[1], np.ones((5, 1)))


def test_one_recurrent_layer_of_two():
    x = keras.Input((5, 4))
    one = layers.LSTM(3, dropout=0.5, name="one")(x)
    two = layers.Bidirectional(layers.GRU(3, recurrent_dropout=0.5), name="two")(x)
    model = keras.Model(x, [one, two])
    for chosen, on in (("one", [True, False]), ("two", [False, True])):
        std = mc_predict(model, normal(1, 5, 4), 20, layers=[chosen]).std
        assert [s.max() > 0 for s in std] == on


@pytest.mark.parametrize("chosen", [["missing"], ["a", "missing"]], ids=str)
def test_an_unknown_layer_is_named(chosen):
    with pytest.raises(ValueError, match="missing"):
        mc_predict(panel(), np.ones((1, 1)), layers=chosen)


def test_a_layer_without_dropout_is_named():
    with pytest.raises(ValueError, match="together"):
        mc_predict(panel(), np.ones((1, 1)), layers=["together"])


def test_a_layer_of_another_model_is_an_error():
    with pytest.raises(ValueError, match="layers"):
        mc_predict(panel(), np.ones((1, 1)), layers=[layers.Dropout(0.5, name="a")])


def test_no_layer_chosen_is_an_error():
    with pytest.raises(ValueError, match="layers"):
        mc_predict(panel(), np.ones((1, 1)), layers=[])


@pytest.mark.parametrize("rate", [None, 0.0])
def test_a_model_without_dropout_is_an_error(rate):
    model = of(layers.Dense(2), 4)
    if rate is not None:
        model.add(layers.Dropout(rate))
    with pytest.raises(ValueError, match="dropout"):
        mc_predict(model, normal(2, 4))


def test_a_rate_of_zero_drops_nothing():
    x = keras.Input((1,))
    model = keras.Model(x, [layers.Dropout(0.0)(x), layers.Dropout(0.5)(x)])
    never, often = mc_predict(model, np.ones((1, 1)), 30).std
    assert never == 0
    assert often > 0


# What changes between calls


def test_a_changed_rate_takes_effect():
    model, x = only_dropout(0.5), np.ones((1, 1))
    assert mc_predict(model, x, 60, seed=1, return_samples=True).samples.max() == 2
    model.layers[-1].rate = 0.75
    assert mc_predict(model, x, 60, seed=1, return_samples=True).samples.max() == 4
    model.layers[-1].rate = 0.5
    assert mc_predict(model, x, 60, seed=1, return_samples=True).samples.max() == 2


def test_a_changed_rate_of_a_recurrent_layer_takes_effect():
    """Keras keeps it in the cell."""
    model, x = of(layers.LSTM(3, dropout=0.5), 5, 4), normal(1, 5, 4)
    mc_predict(model, x, 20, seed=1)
    model.layers[-1].cell.dropout = NEVER
    assert mc_predict(model, x, 20, seed=1).std.max() < 1e-6


def test_changed_weights_take_effect():
    model, x = classifier(activation="linear"), normal(3, 4)
    before = mc_predict(model, x, 10, seed=1)
    model.layers[-1].set_weights([2 * w for w in model.layers[-1].get_weights()])
    after = mc_predict(model, x, 10, seed=1)
    np.testing.assert_allclose(after.mean, 2 * before.mean, rtol=1e-6)
    np.testing.assert_allclose(after.std, 2 * before.std, rtol=1e-6)


def test_changed_weights_before_the_dropout_take_effect():
    model, x = of(layers.Dense(1, use_bias=False), 4), normal(3, 4)
    model.add(layers.Dropout(0.5))
    before = mc_predict(model, x, 10, seed=1).mean
    model.layers[0].set_weights([3 * w for w in model.layers[0].get_weights()])
    np.testing.assert_allclose(mc_predict(model, x, 10, seed=1).mean, 3 * before, 1e-4)


def test_a_layer_taken_off_and_another_put_on_take_effect():
    model, x = only_dropout(), np.ones((2, 1))
    mc_predict(model, x, 5)
    model.add(layers.Rescaling(10.0))
    assert mc_predict(model, x, 60, return_samples=True).samples.max() == 20
    model.pop()
    assert mc_predict(model, x, 60, return_samples=True).samples.max() == 2


# Seeds


def draw(model, **kwargs):
    return mc_predict(model, normal(3, 4), 5, return_samples=True, **kwargs).samples


def test_a_seed_repeats_the_samples():
    model = classifier()
    first = draw(model, seed=1)
    model(normal(3, 4), training=True)
    np.testing.assert_array_equal(draw(model, seed=1), first)
    assert not np.array_equal(draw(model, seed=2), first)


def test_a_seed_repeats_the_samples_in_a_copy():
    model = classifier()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(draw(model, seed=1), draw(copy, seed=1))


def test_without_a_seed_no_two_calls_agree():
    model = classifier()
    assert not np.array_equal(draw(model), draw(model))


def test_without_a_seed_keras_governs():
    model = classifier()
    keras.utils.set_random_seed(3)
    first = draw(model), draw(model)
    keras.utils.set_random_seed(3)
    again = draw(model), draw(model)
    np.testing.assert_array_equal(first, again)
