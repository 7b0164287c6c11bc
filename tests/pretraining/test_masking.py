"""Masks: how many positions they hide, which errors count."""

import keras
import numpy as np
import pytest

from keras_dnn.pretraining import masking
from keras_dnn.pretraining._random_mask import RandomMask
from tests.pretraining.pretraining_cases import (
    dense,
    identity,
    images,
    normal,
    on_replicas,
)

layers = keras.layers


@pytest.mark.parametrize(
    ("shape", "mask_ratio", "patch", "patches"),
    [
        ((10,), 0.3, 1, (10, 3)),
        ((10,), 0.01, 1, (10, 1)),
        ((10,), 1.0, 1, (10, 10)),
        ((12, 5), 0.5, 3, (4, 2)),
        ((8, 8, 3), 0.25, 2, (16, 4)),
        ((7, 7, 1), 0.75, 7, (1, 1)),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_hides_the_ratio_in_each_example(shape, mask_ratio, patch, patches, training):
    mask = RandomMask(mask_ratio, patch, seed=1)
    drawn = mask(np.zeros((20, *shape)), training=training).numpy()
    assert drawn.dtype == bool
    assert drawn.shape == (20, *shape)
    each = drawn.reshape(20, -1).mean(axis=1)
    np.testing.assert_allclose(each, patches[1] / patches[0])


def test_patches_are_complete_and_cover_all_channels():
    drawn = RandomMask(0.5, 3, seed=1)(np.zeros((50, 7, 8, 2)), training=True).numpy()
    assert (drawn[..., :1] == drawn).all()
    corners = drawn[:, ::3, ::3]
    patches = np.repeat(np.repeat(corners, 3, axis=1), 3, axis=2)[:, :7, :8]
    np.testing.assert_array_equal(drawn, patches)


def test_each_position_is_hidden_equally_often():
    mask = RandomMask(0.3, 1, seed=1)
    drawn = mask(np.zeros((20_000, 10)), training=True).numpy()
    deviation = np.sqrt(0.3 * 0.7 / 20_000)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.3, atol=4 * deviation)
    # Two positions are hidden together in 3 · 2 / (10 · 9) of the cases.
    both = (drawn[:, 0] & drawn[:, 1]).mean()
    assert both == pytest.approx(1 / 15, abs=4 * np.sqrt(1 / 15 / 20_000))


def test_masks_change_in_training_only():
    mask, x = RandomMask(0.5, 1, seed=1), np.zeros((40, 50), "float32")
    first, second = (mask(x, training=True).numpy() for _ in range(2))
    assert abs((first == second).mean() - 0.5) < 0.05
    np.testing.assert_array_equal(mask(x), mask(x))


def test_masks_differ_between_replicas(two_replicas):
    with two_replicas.scope():
        mask = RandomMask(0.5, 1, seed=1)
    x = np.zeros((40, 50), "float32")
    (a, b), (c, d) = on_replicas(two_replicas, mask, x)
    for one, other in ((a, b), (c, d), (a, c), (b, d), (a, d), (b, c)):
        assert abs((one == other).mean() - 0.5) < 0.05


def test_replaces_hidden_parts_and_returns_the_rest_unchanged():
    x = images()
    one_more = layers.Rescaling(1.0, offset=1.0)
    model = masking(identity((8, 8, 1)), one_more, mask_ratio=0.25, value=3.5)
    for training in (False, True):
        returned = model(x, training=training).numpy()
        hidden = returned == 4.5
        assert hidden.mean() == 0.25
        np.testing.assert_array_equal(returned[~hidden], x[~hidden].astype("float32"))
        # Patches of four by default.
        blocks = hidden.reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4))
        assert set(np.unique(blocks)) == {0.0, 1.0}


def test_features_are_hidden_one_by_one_by_default():
    model = masking(identity((6,)), identity((6,)), mask_ratio=0.5, value=9)
    hidden = model(normal(200, 6), training=True).numpy() == 9
    assert len(np.unique(hidden, axis=0)) == 20


@pytest.mark.usefixtures("in_float64")
def test_the_loss_depends_on_hidden_parts_only():
    encoder, x = dense(), normal(9, 6, dtype="float64")
    model = masking(encoder, mask_ratio=1 / 3)
    mask = model.get_layer("mask")(x).numpy()
    decoder = model.get_layer("encoder_mirror")

    def expected():
        inside = decoder(encoder(np.where(mask, 0.0, x))).numpy()
        return np.mean((inside - x)[mask] ** 2) / 3

    model.compile(keras.optimizers.SGD(0.1), "mse")
    assert model.evaluate(x, verbose=0) == pytest.approx(expected(), rel=1e-12)
    model.fit(x, epochs=2, verbose=0)
    assert model.evaluate(x, verbose=0) == pytest.approx(expected(), rel=1e-12)


def test_learns_to_reconstruct():
    """All features are equal, so a visible one determines the hidden ones."""
    x = np.repeat(normal(256, 1), 6, axis=1)
    encoder = keras.Sequential([keras.Input((6,)), layers.Dense(8, "elu")])
    model = masking(encoder, mask_ratio=0.5)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    before = model.evaluate(x, verbose=0)
    model.fit(x, epochs=25, verbose=0)
    assert model.evaluate(x, verbose=0) < 0.1 * before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask_ratio": 0}, r"mask_ratio must be a number in \(0, 1\].*mask_ratio=0"),
        ({"mask_ratio": 1.5}, "mask_ratio=1.5"),
        ({"patch": 0}, "patch must be a positive integer.*patch=0"),
        ({"value": "grey"}, "value must be a number.*value='grey'"),
    ],
)
def test_bad_arguments_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        masking(dense(), **arguments)


def test_shapes_must_be_known():
    stack = [keras.Input((None, 3)), layers.Dense(3)]
    with pytest.raises(ValueError, match="known shape"):
        masking(keras.Sequential(stack), layers.Dense(3))
