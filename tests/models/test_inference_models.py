"""`optimize_for_inference` on models and inputs of every kind that `predict` takes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_dnn.layers import MCDropout
from keras_dnn.models import optimize_for_inference
from tests.models.inference_cases import candidate, normal

pytestmark = pytest.mark.usefixtures("short_turns")

GRAPH = "frozen graph"
LITE = "TFLite float32"


def measure(model, x, names=("tf.function",), **given):
    return optimize_for_inference(
        model, x, candidates=list(names), rounds=1, verbose=0, **given
    )


def dense(inputs, units=2):
    return keras.Model(inputs, layers.Dense(units)(keras.tree.flatten(inputs)[0]))


# How inputs are nested ---------------------------------------------------------------


@pytest.mark.parametrize("nest", [lambda i: i, lambda i: [i], lambda i: {"a": i}])
def test_one_input_may_stand_alone_or_not(nest):
    i = keras.Input((4,), name="a")
    model, x = dense(nest(i)), normal(8, 4)
    result = measure(model, x)
    for given in (x, [x], {"a": x}, x.tolist(), tf.constant(x)):
        np.testing.assert_allclose(result(given), x @ model.get_weights()[0], rtol=1e-5)


def test_several_inputs_by_position_or_name():
    i, j = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    y = layers.Dense(2)(layers.Concatenate()([i, j]))
    x = {"a": normal(8, 4), "b": normal(8, 3)}
    pair = (x["a"], x["b"])
    for inputs in ([i, j], {"a": i, "b": j}):
        model = keras.Model(inputs, y)
        result, expected = measure(model, x), model.predict(x, verbose=0)
        for given in (x, pair, list(pair)):
            np.testing.assert_allclose(result(given), expected, rtol=1e-6)
    # Keras sorts the keys, and so refuses a list.
    result = measure(keras.Model({"b": j, "a": i}, y), x)
    with pytest.raises(ValueError, match=r"x must have the keys \['b', 'a'\]"):
        result(pair)
    with pytest.raises(ValueError, match=r"x must have the keys.*Received: \['a'\]"):
        result({"a": x["a"]})


# What they hold -----------------------------------------------------------------------


def test_strings():
    texts = ["the cat sat", "a dog ran home", "the dog", ""]
    vectorize = layers.TextVectorization(30, output_sequence_length=4)
    vectorize.adapt(texts)
    i = keras.Input((), dtype="string")
    h = layers.Embedding(30, 4)(vectorize(i))
    model = keras.Model(i, layers.Dense(2)(layers.Flatten()(h)))
    expected = model.predict(tf.constant(texts), verbose=0)
    utf8 = np.array([text.encode() for text in texts], object)
    result = measure(model, utf8)
    for given in (utf8, np.array(texts), np.array(texts, object), tf.constant(texts)):
        np.testing.assert_allclose(result(given), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"x must hold strings.*Received: numbers"):
        result(np.arange(4))


@pytest.mark.parametrize(
    ("dtype", "good", "bad", "becomes"),
    [
        ("int32", [2**31 - 1, -5], 2**31, -(2**31)),
        ("int32", [3.0, 4.0], 2.5, 2),
        ("int32", [3.0, 4.0], np.nan, None),
        ("float32", [2**24, -(2**24)], 2**24 + 1, 2**24),
        ("float32", [0.1, 1e30], 1e300, np.inf),
        ("bool", [0, 1], 2, True),
    ],
)
def test_no_number_is_cut_off(dtype, good, bad, becomes):
    i = keras.Input((1,), dtype=dtype)
    model = keras.Model(i, keras.ops.cast(i, "float64"))
    result = measure(model, np.array(good)[:, None])
    found = result(np.array(good)[:, None])[:, 0]
    np.testing.assert_allclose(found, np.array(good).astype(dtype))
    with pytest.raises(ValueError, match=rf"x must hold numbers that {dtype}") as error:
        result(np.array([good[0], bad])[:, None])
    assert becomes is None or f"would become {np.array(becomes)}" in str(error.value)
    with pytest.raises(ValueError, match=rf"data must hold numbers that {dtype}"):
        measure(model, np.array([good[0], bad])[:, None])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tf.ragged.constant([[1.0], [1.0, 2.0]]), r"dense arrays.*x\.to_tensor\(\)"),
        (tf.sparse.from_dense(np.eye(3)), r"dense arrays.*tf\.sparse\.to_dense"),
        (np.zeros((0, 3)), r"at least batch_size rows.*lengths \[0\]"),
        (tf.data.Dataset.range(3), r"next\(iter\(data\)\)"),
        ([[1.0, 2.0, 3.0], [1.0]], "rows of one shape"),
        (np.zeros((4, 2)), r"data must have rows of shape \(3,\).*\(4, 2\)"),
    ],
)
def test_data_that_is_refused(data, message):
    with pytest.raises(ValueError, match=message) as error:
        measure(dense(keras.Input((3,))), data)
    assert len(str(error.value).splitlines()) <= 3


def test_one_row():
    model = dense(keras.Input((3,)), 1)
    result = measure(model, normal(1, 3), [GRAPH, LITE])
    assert [c.failure for c in result.candidates] == [""] * 4
    assert result(normal(0, 3)).shape == (0, 1)


# Rows and lengths ---------------------------------------------------------------------


def padded(length=7):
    x = np.random.default_rng(0).integers(1, 9, (6, length))
    x[:3, 3:] = 0
    return x


def network(end, length=None):
    """Attention that must not see the padding, and what follows it."""
    keras.utils.set_random_seed(1)
    i = keras.Input((length,), dtype="int32")
    h = layers.Embedding(9, 4, mask_zero=True)(i)
    h = layers.MultiHeadAttention(2, 3)(h, h)
    return keras.Model(i, layers.Dense(2)(end(h)))


def test_masks_and_lengths_that_the_model_leaves_open():
    model = network(layers.GlobalAveragePooling1D())
    graph = measure(model, padded(), [GRAPH])
    for length in (3, 7, 11):
        x = padded(length)
        np.testing.assert_allclose(graph(x), model.predict(x, verbose=0), atol=1e-6)
    lite = measure(model, padded(), [LITE])
    expected = model.predict(padded(), verbose=0)
    np.testing.assert_allclose(lite(padded()), expected, atol=1e-6)
    with pytest.raises(ValueError, match=rf"\(7,\).*{LITE}.*built for it.*\(6, 3\)"):
        lite(padded(3))


def test_recurrent_dropout_is_removed_and_stays_in_the_model():
    """It draws masks at inference, which neither TFLite nor a frozen graph can."""
    gru = layers.GRU(2, dropout=0.2, recurrent_dropout=0.3)
    model = network(gru, length=7)
    seed = np.array(gru.cell.seed_generator.state)
    result = measure(model, padded(), [GRAPH])
    np.testing.assert_array_equal(gru.cell.seed_generator.state, seed)
    assert candidate(result, GRAPH).failure == ""
    expected = model.predict(padded(), verbose=0)
    np.testing.assert_allclose(result(padded()), expected, atol=1e-6)
    cell = gru.cell
    assert (cell.dropout, cell.recurrent_dropout, cell.implementation) == (0.2, 0.3, 1)


def test_a_batch_size_that_keras_froze_does_not_bind():
    model = keras.Sequential([layers.Dense(2)])
    model.build((4, 3))
    model.compile("sgd", "mse")
    x = normal(8, 3)
    model.fit(x, x[:, :2], batch_size=4, verbose=0)
    result = measure(model, x, [GRAPH])
    np.testing.assert_allclose(result(x[:3]), model(x[:3]), atol=1e-6)


def test_a_graph_of_one_number_of_rows_runs_in_such_batches():
    i = keras.Input(batch_shape=(4, 3))
    model = keras.Model(i, layers.Dense(2)(keras.ops.reshape(i, (4, 3))))
    x = normal(6, 3)
    result = measure(model, x, [GRAPH, LITE], batch_size=4)
    kernel, _ = model.get_weights()
    np.testing.assert_allclose(result(x), x @ kernel, atol=1e-6)
    assert [c.failure for c in result.candidates] == [""] * 4


# What predict gives -------------------------------------------------------------------


class Doubles(keras.Model):
    """Preprocesses in `predict`, as the tasks of KerasHub do."""

    def predict(self, x, **kwargs):
        return super().predict(2 * np.asarray(x), **kwargs)


class Classes(keras.Model):
    """Predicts classes."""

    def predict_step(self, data):
        return tf.argmax(super().predict_step(data), -1)


def test_candidates_are_compared_with_what_predict_gives():
    i, x = keras.Input((3,)), normal(8, 3)
    y = layers.Dense(2)(i)
    model = Doubles(i, y)
    result = measure(model, x)
    assert "that its predict hands to Keras" in result.preparation
    np.testing.assert_allclose(result(2 * x), model.predict(x, verbose=0), rtol=1e-6)
    with pytest.raises(ValueError, match="predict_step of Classes"):
        measure(Classes(i, y), x)


# Other dtypes -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["mixed_float16", "float16", "bfloat16", "float64"])
def test_other_dtypes_have_a_copy_in_float32(dtype):
    keras.utils.set_random_seed(1)
    i = keras.Input((6,), dtype=dtype.removeprefix("mixed_"))
    h = layers.Dense(8, "relu", dtype=dtype)(i)
    model = keras.Model(i, layers.Dense(2, dtype=dtype)(h))
    x = normal(20, 6)
    result = measure(model, x, [LITE, "ONNX Runtime"], tolerance=0.1)
    weights = [np.asarray(w, "float64") for w in model.get_weights()]
    rounded = np.asarray(x.astype(i.dtype), "float64")
    y = np.maximum(rounded @ weights[0], 0) @ weights[2]
    for found in result.candidates[2:]:
        if "pip install" not in found.failure:
            assert found.failure == ""
            assert found.within
    np.testing.assert_allclose(result(x), y, rtol=1e-4, atol=1e-4)
    assert model.layers[-1].compute_dtype == dtype.removeprefix("mixed_")


def test_a_quantised_model():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((16,)), layers.Dense(16), layers.Dense(4)])
    for layer in model.layers:
        layer.quantize("int8")
    result = measure(model, normal(20, 16), ["tf.function", GRAPH])
    assert [c.failure for c in result.candidates] == [""] * 4
    assert candidate(result, GRAPH).largest_difference < 1e-5


# Not finite has failed ----------------------------------------------------------------


def test_a_model_that_gives_nan_is_refused_with_its_layer():
    i = keras.Input((3,))
    broken = layers.Dense(2, name="broken")
    model = keras.Model(i, layers.Dense(2)(broken(layers.Dense(2)(i))))
    x = normal(70, 3)
    broken.bias.assign([np.inf, -np.inf])
    model.layers[-1].kernel.assign([[1, 1], [1, 1]])
    with pytest.raises(ValueError, match=r"70 of 70 rows.*first layer.*'broken'"):
        measure(model, x)
    broken.bias.assign([0, 0])
    x[5] = np.nan
    with pytest.raises(ValueError, match=r"1 of 70 rows.*data holds numbers that are"):
        measure(model, x)


# Where differences are ----------------------------------------------------------------


def test_the_worst_column_and_class_are_told():
    """Weights of 16 bits move the rare class most, seen by its own deviation."""
    keras.utils.set_random_seed(1)
    i = keras.Input((6,))
    model = keras.Model(
        i, {"kind": layers.Dense(3, "softmax")(i), "size": [layers.Dense(1)(i)]}
    )
    model.layers[1].bias.assign([4.0, 4.0, -8.0])
    x = normal(60, 6)
    result = measure(model, x, ["TFLite float16"], tolerance=1.0)
    found = candidate(result, "TFLite float16")
    expected = keras.tree.flatten(model.predict(x, verbose=0))
    outputs = keras.tree.flatten(result(x))
    for y, z, columns in zip(expected, outputs, found.column_differences, strict=True):
        twin = np.abs(np.float64(y) - z).max(0) / np.float64(y).std(0)
        np.testing.assert_allclose(columns, twin, rtol=1e-6)
    everything = np.concatenate([np.array(c) for c in found.column_differences])
    assert found.worst_column_difference == everything.max()
    names = ["kind[0]", "kind[1]", "kind[2]", "size.0"]
    assert found.worst_column == names[int(everything.argmax())]
    assert f"{found.worst_column} {everything.max():.1e}" in str(result)


def test_the_class_that_loses_most_is_told():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, use_bias=False)])
    model.layers[0].kernel.assign(np.diag([1, 1, 1.0001]))
    x = np.eye(3, dtype="float32").repeat(4, 0)
    # With 1 in place of 1.0001, these two rows belong to the second class.
    x[10:, 1] = 1.00005
    labels = np.arange(3).repeat(4)
    name = "TFLite float16"
    result = measure(model, x, [name], labels=labels, max_accuracy_loss=0.2)
    found = candidate(result, name)
    assert result.candidates[0].class_accuracies == {0: 1.0, 1: 1.0, 2: 1.0}
    assert found.class_accuracies == {0: 1.0, 1: 1.0, 2: 0.5}
    assert (found.accuracy, found.worst_class, found.within) == (10 / 12, 2, True)
    assert "class 2: 1.00 -> 0.50" in str(result)
    loaded = type(found)._from_dict(json.loads(json.dumps(found.to_dict())))
    assert loaded == found


def test_a_model_that_is_random_at_inference_is_refused():
    model = keras.Sequential([keras.Input((6,)), MCDropout(0.5), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"random at inference see export_monte_carlo"):
        measure(model, normal(8, 6))


def test_strings_beside_numbers():
    i, j = keras.Input((2,), name="n"), keras.Input((1,), dtype="string", name="s")
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    y = layers.Dense(2)(layers.Concatenate()([i, lookup(j)]))
    model = keras.Model({"n": i, "s": j}, y)
    x = {"n": normal(3, 2), "s": np.array([["a"], ["b"], ["?"]], object)}
    kernel, _ = model.get_weights()
    codes = np.eye(3)[[1, 2, 0]]
    expected = np.concatenate([x["n"], codes], 1) @ kernel
    np.testing.assert_allclose(measure(model, x)(x), expected, rtol=1e-5)
