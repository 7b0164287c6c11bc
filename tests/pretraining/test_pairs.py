"""Pairs of examples: what they are and how often each is drawn."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import Pairs

LABELS = np.array([2, 0, 1, 0, 2, 0, 7])


def drawn(pairs):
    """The first and second examples and the labels of all batches."""
    batches = [pairs[i] for i in range(len(pairs))]
    first = np.concatenate([one for (one, _), _ in batches])
    second = np.concatenate([other for (_, other), _ in batches])
    return first, second, np.concatenate([same for _, same in batches])


def test_half_of_the_pairs_are_of_the_same_class_as_labelled():
    pairs = Pairs(np.arange(7), LABELS, batch_size=9, batches=50, seed=1)
    first, second, same = drawn(pairs)
    assert len(first) == 450
    np.testing.assert_array_equal(LABELS[first] == LABELS[second], same == 1)
    assert (first != second).all()
    assert [pairs[i][1].sum() for i in (0, 1)] == [4, 4]


def test_all_pairs_are_drawn_equally_often():
    first, second, same = drawn(Pairs(np.arange(7), LABELS, 40_000, batches=1, seed=1))
    counts = np.zeros((2, 7, 7))
    np.add.at(counts, (same.astype(int), first, second), 1)
    expected = np.zeros_like(counts)
    # Five examples have a partner of the same class, all seven one of another.
    for i, j in np.ndindex(7, 7):
        same_class = LABELS[i] == LABELS
        if i != j and same_class[j]:
            expected[1, i, j] = 1 / 5 / (same_class.sum() - 1)
        elif not same_class[j]:
            expected[0, i, j] = 1 / 7 / (~same_class).sum()
    deviation = np.sqrt(expected / 20_000)
    assert (np.abs(counts / 20_000 - expected) <= 4.5 * deviation).all()


def test_each_epoch_has_new_pairs_if_redraw_is_true():
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


def test_an_epoch_has_one_pair_for_each_example_by_default():
    assert len(Pairs(np.arange(7), LABELS, batch_size=3)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(6), LABELS), r"labels of shape \(7,\) for 6 examples"),
        ((np.arange(7), LABELS[:, None]), "one-dimensional"),
        ((np.arange(7), np.zeros(7)), "1 classes of 7"),
        ((np.arange(7), np.arange(7)), "7 classes of 1"),
        ((np.arange(7), LABELS, 1), "batch_size=1"),
        ((np.arange(0), np.arange(0)), "0 classes of 0"),
        ((list(range(7)), LABELS), "x must be an array .* of the type list"),
    ],
)
def test_bad_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pairs(*arguments)


def test_a_tensor_is_as_its_array():
    x, labels = np.arange(8.0).reshape(4, 2), [0, 0, 1, 1]
    (one, _), _ = Pairs(x, labels, 4, seed=1)[0]
    (same, _), _ = Pairs(keras.ops.convert_to_tensor(x), labels, 4, seed=1)[0]
    np.testing.assert_array_equal(same, one.astype(same.dtype))


def test_text_comes_as_tensors_which_keras_takes():
    words = np.array(["a", "b", "c", "d", "e", "f", "g"])
    for x in (words, words.astype(object)):
        pairs = Pairs(x, LABELS, batch_size=4, seed=1)
        (first, second), _ = pairs[0]
        (i, j), _ = Pairs(np.arange(7), LABELS, batch_size=4, seed=1)[0]
        assert [word.decode() for word in first.numpy()] == words[i].tolist()
        assert [word.decode() for word in second.numpy()] == words[j].tolist()
