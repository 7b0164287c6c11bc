"""Arrays come back from JSON as they went in."""

import json

import numpy as np
import pytest

from keras_dnn._json_arrays import from_json, to_json


def again(array):
    return from_json(json.loads(json.dumps(to_json(array))))


@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (5, 3), (2, 3, 7)])
def test_numbers_survive_to_single_precision(shape):
    array = np.random.default_rng(0).normal(size=shape)
    found = again(array)
    assert (found.dtype, found.shape) == (np.float64, shape)
    np.testing.assert_array_equal(found, array.astype("float32"))


def test_nan_and_infinity_survive():
    array = np.array([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(again(array), array)


@pytest.mark.parametrize("shape", [(0,), (3,), (8,), (5, 3), (2, 3, 7)])
def test_booleans_survive(shape):
    array = np.random.default_rng(1).random(shape) < 0.3
    found = again(array)
    assert (found.dtype, found.shape) == (bool, shape)
    np.testing.assert_array_equal(found, array)


def test_booleans_take_few_characters():
    """Four thirds of a bit, of which a base64 character holds six."""
    mask = np.random.default_rng(2).random((100, 100)) < 0.5
    assert len(to_json(mask)["bits"]) < 1.05 * mask.size * (8 / 6) / 8
