"""Linear layers and batch norms that are called several times."""

import keras
import numpy as np
from keras import layers

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    conv,
    difference,
    normal,
    randomised,
)


def test_a_layer_that_serves_several_norms_becomes_several():
    """The heads of RetinaNet: the same convolutions on each scale, with own norms."""
    head = conv(4, 3, name="head")
    x = keras.Input((6, 6, 4))
    scales = [x, layers.AveragePooling2D(2)(x), layers.MaxPooling2D()(x)]
    outputs = [BatchNorm(name=f"n{i}")(head(y)) for i, y in enumerate(scales)]
    model = randomised(keras.Model(x, [*outputs, layers.ReLU()(head(x + 1))]))

    result = fold_batch_norm(model)

    assert result.folded.keys() == {"n0", "n1", "n2"}
    assert {*result.folded.values()} == {"head_1", "head_2", "head_3"}
    assert result.model.get_layer("head") is not head
    np.testing.assert_array_equal(result.model.get_layer("head").kernel, head.kernel)
    assert difference(model, result.model, normal(3, 6, 6, 4)) < 5e-6


def test_a_layer_stays_one_where_all_its_calls_need_the_same():
    head, norm = conv(4, 3, name="head"), BatchNorm(name="n")
    x = keras.Input((6, 6, 4))
    model = randomised(keras.Model(x, [norm(head(x)), norm(head(x + 1))]))

    result = fold_batch_norm(model)

    assert result.folded == {"n": "head"}
    assert [x.name for x in result.model.layers if x.weights] == ["head"]
    assert difference(model, result.model, normal(3, 6, 6, 4)) < 5e-6


def test_a_shared_norm_goes_into_each_layer_before_it():
    norm = BatchNorm(name="n")
    x = keras.Input(IMAGE)
    model = keras.Model(x, [norm(conv(name="c")(x)), norm(conv(name="d")(x))])
    result = fold_batch_norm(randomised(model))
    assert set(result.folded["n"].split(", ")) == {"c", "d"}
    assert difference(model, result.model, normal(3, *IMAGE)) < 5e-6


def test_the_names_of_copies_are_free():
    c = conv(4, 3, name="c")
    x = keras.Input((6, 6, 4))
    y = layers.ReLU(name="c_1")(BatchNorm(name="n")(c(x)))
    model = randomised(keras.Model(x, BatchNorm(name="m")(c(y))))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c", "m": "c_2"}
    assert difference(model, result.model, normal(3, 6, 6, 4)) < 1e-5
