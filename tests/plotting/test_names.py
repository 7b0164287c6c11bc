"""Paths of layers and variables, short enough for an axis."""

import pytest

from keras_dnn.plotting._names import without_model


@pytest.mark.parametrize(
    ("names", "parts", "expected"),
    [
        (["net/a/kernel", "net/b/bias"], 3, ["a/kernel", "b/bias"]),
        (["net/a", "net/b"], 2, ["a", "b"]),
        # Another first part, or too few, is not the model's name.
        (["net/a/kernel", "other/b/bias"], 3, ["net/a/kernel", "other/b/bias"]),
        (["a/kernel", "a/bias"], 3, ["a/kernel", "a/bias"]),
        (["net/a/kernel", "net/bias"], 3, ["net/a/kernel", "net/bias"]),
        ([], 3, []),
    ],
)
def test_the_name_of_the_model_is_left_out(names, parts, expected):
    assert without_model(names, parts) == expected
