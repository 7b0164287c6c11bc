"""Folding whole models: nested, of several inputs, masked, in other precisions."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import (
    IMAGE,
    BatchNorm,
    Subclassed,
    chain,
    conv,
    difference,
    normal,
    norms_in,
    randomised,
    small_block,
)


def test_two_norms_in_a_row():
    """The first folds; of the second, only that the result is right is checked."""
    model = randomised(
        chain((4,), layers.Dense(3, name="d"), BatchNorm(name="n"), BatchNorm(name="m"))
    )
    result = fold_batch_norm(model)
    assert result.folded["n"] == "d"
    assert len(result.folded) + len(result.kept) == 2
    assert difference(model, result.model, normal(5, 4)) < 1e-5


def test_nested_models_are_named_by_their_path():
    deep = keras.Sequential(
        [keras.Input((6, 6, 4)), conv(name="c"), BatchNorm(name="n"), small_block()],
        name="deep",
    )
    model = randomised(chain((6, 6, 4), deep, conv(name="c"), BatchNorm(name="n")))

    result = fold_batch_norm(model)

    assert result.folded == {
        "deep/n": "deep/c",
        "deep/block/n": "deep/block/c",
        "n": "c",
    }
    assert norms_in(result.model) == []
    assert result.model.get_layer("deep").get_layer("block").name == "block"
    assert difference(model, result.model, normal(2, 6, 6, 4)) < 1e-5


def test_a_nested_model_used_twice_is_folded_once():
    block = small_block()
    x = keras.Input((6, 6, 4))
    model = randomised(keras.Model(x, block(block(x) + 1)))

    result = fold_batch_norm(model)

    assert result.folded == {"block/n": "block/c"}
    assert norms_in(result.model) == []
    assert sum(x.name == "block" for x in result.model.layers) == 1
    assert difference(model, result.model, normal(2, 6, 6, 4)) < 1e-5


def test_a_layer_used_inside_and_outside_a_nested_model_becomes_two():
    c = conv(name="c")
    x = keras.Input((6, 6, 4))
    inner = keras.Model(x, BatchNorm(name="n")(c(x)), name="inner")
    y = keras.Input((6, 6, 4))
    model = randomised(keras.Model(y, [inner(y), c(y)]))

    result = fold_batch_norm(model)

    assert result.folded == {"inner/n": "inner/c_1"}
    assert difference(model, result.model, normal(2, 6, 6, 4)) < 1e-5


def test_a_model_applied_to_each_step():
    inner = small_block()
    timed = layers.TimeDistributed(
        keras.Sequential([keras.Input((6, 6, 4)), inner]), name="t"
    )
    model = randomised(chain((3, 6, 6, 4), timed))

    result = fold_batch_norm(model)

    assert result.folded == {"t/block/n": "t/block/c"}
    assert result.kept == {}
    assert type(result.model.layers[0]) is layers.TimeDistributed
    assert result.max_error < 1e-6
    assert difference(model, result.model, normal(2, 3, 6, 6, 4)) < 1e-5


def test_a_model_and_one_cut_out_of_it():
    """Both hold the same call of the same convolution."""
    x = keras.Input(IMAGE)
    c = conv(name="c")
    y = c(x)
    part = keras.Model(x, y, name="part")
    model = randomised(keras.Model(x, [BatchNorm(name="n")(y), part(x + 1)]))

    result = fold_batch_norm(model)

    assert result.folded == {"n": "c_1"}
    assert difference(model, result.model, normal(2, *IMAGE)) < 1e-5


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_several_inputs_and_outputs(structure):
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    one = BatchNorm(name="n1")(layers.Dense(5, name="d1")(a))
    two = BatchNorm(name="n2")(layers.Dense(5, name="d2")(b))
    both = layers.ReLU()(one + two)
    x = {"b": normal(6, 3), "a": normal(6, 4)}
    if structure == "dict":
        model = keras.Model({"a": a, "b": b}, {"z": both, "one": layers.Dense(2)(one)})
    else:
        model, x = keras.Model([a, b], [both, one]), [x["a"], x["b"]]
    randomised(model)

    result = fold_batch_norm(model, x)

    assert result.folded == {"n1": "d1", "n2": "d2"}
    assert [i.name for i in result.model.inputs] == ["a", "b"]
    before, after = model(x), result.model(x)
    keras.tree.assert_same_structure(before, after)
    assert difference(model, result.model, x) < 1e-5
    assert fold_batch_norm(model).max_error < 1e-5


def test_residual_blocks():
    x = keras.Input((8, 8, 3))
    y = layers.ReLU()(BatchNorm()(conv(use_bias=False)(x)))
    for _ in range(2):
        z = layers.ReLU()(BatchNorm()(layers.DepthwiseConv2D(3, padding="same")(y)))
        y = layers.ReLU()(layers.Add()([y, BatchNorm()(conv(4, 1)(z))]))
    model = randomised(keras.Model(x, layers.GlobalAveragePooling2D()(y)))

    result = fold_batch_norm(model)

    assert len(result.folded) == 5
    assert norms_in(result.model) == []
    assert difference(model, result.model, normal(3, 8, 8, 3)) < 1e-5


def test_sequential_stays_sequential():
    model = randomised(
        keras.Sequential(
            [keras.Input(IMAGE, name="pictures"), conv(), BatchNorm()], name="net"
        )
    )
    folded = fold_batch_norm(model).model
    assert type(folded) is keras.Sequential
    assert folded.name == "net"
    assert folded.inputs[0].name == "pictures"


def test_a_sequential_built_by_its_data():
    model = keras.Sequential([layers.Dense(4, name="d"), BatchNorm(name="n")])
    model(normal(3, 5))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "d"}
    assert difference(model, result.model, normal(3, 5)) < 1e-5


def test_open_height_and_width():
    model = randomised(chain((None, None, 3), conv(name="c"), BatchNorm(name="n")))
    result = fold_batch_norm(model)
    assert result.model.input_shape == (None, None, None, 3)
    assert difference(model, result.model, normal(2, 7, 4, 3)) < 1e-5


def test_open_height_and_width_that_need_large_images():
    model = chain((None, None, 3), layers.Conv2D(4, 40, name="c"), BatchNorm(name="n"))
    assert fold_batch_norm(randomised(model)).folded == {"n": "c"}


def test_whole_numbers_as_input():
    model = randomised(
        keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                layers.Embedding(7, 4),
                layers.Conv1D(3, 2, name="c"),
                BatchNorm(name="n"),
            ]
        )
    )
    result = fold_batch_norm(model)
    assert result.folded == {"n": "c"}
    assert result.max_error < 1e-5


def test_masks_are_passed_on_where_a_norm_was():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(7, 4, mask_zero=True)(x)
    y = BatchNorm(name="n")(layers.Dense(3, name="d")(y))
    model = randomised(keras.Model(x, layers.LSTM(2)(y)))
    result = fold_batch_norm(model)
    assert result.folded == {"n": "d"}
    words = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 1]])
    assert difference(model, result.model, words) < 1e-5


def test_a_model_without_norms_is_copied():
    model = randomised(chain((4,), layers.Dense(3), layers.Dropout(0.5)))
    result = fold_batch_norm(model)
    assert (result.folded, result.kept, result.max_error) == ({}, {}, 0.0)
    x = normal(3, 4)
    np.testing.assert_array_equal(result.model(x), model(x))


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-2), ("mixed_bfloat16", 8e-2)]
)
def test_mixed_precision(policy, tolerance):
    linear = conv(dtype=policy, name="c")
    model = randomised(chain(IMAGE, linear, BatchNorm(dtype=policy, name="n")))

    result = fold_batch_norm(model)

    new = result.model.layers[0]
    assert new.dtype_policy.name == policy
    assert new.kernel.dtype == "float32"
    assert result.max_error < 1e-5
    assert difference(model, result.model, normal(3, *IMAGE)) < tolerance


def test_all_in_bfloat16():
    model = chain(IMAGE, conv(dtype="bfloat16"), BatchNorm(dtype="bfloat16"))
    result = fold_batch_norm(randomised(model))
    assert result.model.layers[0].kernel.dtype == "bfloat16"
    assert difference(model, result.model, normal(3, *IMAGE)) < 8e-2


@pytest.mark.parametrize("change", ["quantised", "lora"])
def test_a_changed_dense_elsewhere_does_not_matter(change):
    dense = layers.Dense(3, name="d")
    model = chain((4,), layers.Dense(6, name="e"), BatchNorm(name="n"), dense)
    randomised(model)
    dense.quantize("int8") if change == "quantised" else dense.enable_lora(2)

    result = fold_batch_norm(model)

    assert result.folded == {"n": "e"}
    assert difference(model, result.model, normal(5, 4)) < 1e-2


def test_a_layer_that_is_random_at_inference_does_not_matter():
    from keras_dnn.layers import MCDropout

    model = chain((4,), layers.Dense(6, name="d"), BatchNorm(name="n"), MCDropout(0.5))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "d"}
    assert result.max_error < 1e-5


def test_a_lambda_layer():
    model = chain(
        (4,),
        layers.Dense(6, name="d"),
        BatchNorm(name="n"),
        layers.Lambda(lambda x: 2 * x, output_shape=(6,)),
    )
    result = fold_batch_norm(randomised(model))
    assert difference(model, result.model, normal(5, 4)) < 1e-5


@pytest.mark.parametrize(
    "make",
    [lambda: keras.Sequential([layers.Dense(3), BatchNorm()]), Subclassed],
    ids=["unbuilt", "subclassed"],
)
def test_a_model_without_a_graph_is_an_error(make):
    with pytest.raises(ValueError, match="Received: model="):
        fold_batch_norm(make())


def test_a_nested_subclassed_model_is_copied_as_a_layer():
    x = keras.Input((4,))
    y = Subclassed()(x)
    model = keras.Model(x, BatchNorm(name="n")(layers.Dense(4, name="d")(y)))
    result = fold_batch_norm(randomised(model))
    assert result.folded == {"n": "d"}
    assert difference(model, result.model, normal(3, 4)) < 1e-5
