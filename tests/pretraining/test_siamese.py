"""Pairs, and twins who tell same from different."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import Pairs, siamese
from tests.pretraining.pretraining_cases import dense, normal

LABELS = np.array([2, 0, 1, 0, 2, 0, 7])


def drawn(pairs):
    """First, second and same, over all batches."""
    batches = [pairs[i] for i in range(len(pairs))]
    first = np.concatenate([one for (one, _), _ in batches])
    second = np.concatenate([other for (_, other), _ in batches])
    return first, second, np.concatenate([same for _, same in batches])


def test_half_are_the_same_and_what_is_said_is_right():
    pairs = Pairs(np.arange(7), LABELS, batch_size=9, batches=50, seed=1)
    first, second, same = drawn(pairs)
    assert len(first) == 450
    np.testing.assert_array_equal(LABELS[first] == LABELS[second], same == 1)
    assert (first != second).all()
    assert [pairs[i][1].sum() for i in (0, 1)] == [4, 4]


def test_all_pairs_come_as_often_as_promised():
    first, second, same = drawn(Pairs(np.arange(7), LABELS, 40_000, batches=1, seed=1))
    counts = np.zeros((2, 7, 7))
    np.add.at(counts, (same.astype(int), first, second), 1)
    expected = np.zeros_like(counts)
    # Of the same class: five examples have a twin. Of another: all seven have.
    for i, j in np.ndindex(7, 7):
        alike = LABELS[i] == LABELS
        if i != j and alike[j]:
            expected[1, i, j] = 1 / 5 / (alike.sum() - 1)
        elif not alike[j]:
            expected[0, i, j] = 1 / 7 / (~alike).sum()
    spread = np.sqrt(expected / 20_000)
    assert (np.abs(counts / 20_000 - expected) <= 4.5 * spread).all()


def test_each_epoch_has_new_pairs_unless_told_otherwise():
    for redraw in (True, False):
        pairs = Pairs(np.arange(7), LABELS, batches=2, redraw=redraw, seed=1)
        before = drawn(pairs)
        np.testing.assert_array_equal(drawn(pairs), before)
        assert (pairs[0][0][0] != pairs[1][0][0]).any()
        pairs.on_epoch_end()
        assert np.array_equal(drawn(pairs), before) is not redraw
    again = Pairs(np.arange(7), LABELS, batches=2, seed=1)
    np.testing.assert_array_equal(drawn(again), before)
    other = Pairs(np.arange(7), LABELS, batches=2, seed=2)
    assert not np.array_equal(drawn(other), before)


def test_an_epoch_gives_each_example_one_pair_by_default():
    assert len(Pairs(np.arange(7), LABELS, batch_size=3)) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((np.arange(6), LABELS), r"labels of shape \(7,\) for 6 examples"),
        ((np.arange(7), LABELS[:, None]), "one-dimensional"),
        ((np.arange(7), np.zeros(7)), "1 classes of 7"),
        ((np.arange(7), np.arange(7)), "7 classes of 1"),
        ((np.arange(7), LABELS, 1), "batch_size=1"),
        ((np.arange(0), np.arange(0)), "0 classes of 0"),
    ],
)
def test_bad_pairs_teach(arguments, says):
    with pytest.raises(ValueError, match=says):
        Pairs(*arguments)


def test_fit_takes_new_pairs_each_epoch_and_learns():
    """Two clouds, far apart."""
    labels = np.arange(64) % 2
    x = 0.3 * normal(64, 6) + np.where(labels, 1, -1)[:, None]
    pairs = Pairs(x.astype("float32"), labels, 16, batches=30, seed=1)
    model = siamese(dense())
    model.compile(
        keras.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"]
    )
    logs = model.fit(pairs, epochs=4, verbose=0).history
    # Keras may end an epoch once more than it begins one.
    assert pairs.epoch >= 4
    assert logs["accuracy"][-1] > 0.98


@pytest.mark.usefixtures("in_float64")
def test_gives_the_probability_of_the_formula():
    encoder, a, b = dense(), *normal(2, 5, 6, dtype="float64")
    model = siamese(encoder)
    w, bias = model.get_layer("same").get_weights()
    model.get_layer("same").set_weights([w, bias + 0.3])
    z = np.abs(encoder(a).numpy() - encoder(b).numpy()) @ w + 0.3
    expected = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(model([a, b]), expected, rtol=1e-12)
    np.testing.assert_allclose(model([b, a]), expected, rtol=1e-12)


def test_twins_are_one_encoder_of_any_features():
    stack = [keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3)]
    model = siamese(keras.Sequential(stack))
    assert model.get_layer("same").kernel.shape == (32, 1)
    assert len(model.trainable_variables) == 4


def test_an_encoder_must_have_a_graph():
    with pytest.raises(ValueError, match=r"keras\.Input"):
        siamese(keras.layers.Dense(2))
