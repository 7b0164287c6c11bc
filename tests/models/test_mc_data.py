"""The inputs of mc_predict: arrays, data sets, texts, masks, other precisions."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_dnn.models import mc_predict
from tests.models.mc_cases import (
    MEASURES,
    NEVER,
    assert_measures,
    assert_zero_or_twice,
    classifier,
    normal,
    same_distribution,
)


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, i):
        part = slice(4 * i, 4 * i + 4)
        return keras.tree.map_structure(lambda a: a[part], self.x), self.y[part]


def slices(*tensors):
    return tf.data.Dataset.from_tensor_slices(tensors).batch(4)


X, Y = normal(10, 4), np.arange(10)
INPUTS = {
    "float64": lambda: X.astype("float64"),
    "tensor": lambda: tf.constant(X),
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(X).batch(4),
    "dataset with targets": lambda: slices(X, Y),
    "dataset with weights": lambda: slices(X, Y, np.ones(10)),
    "dataset of unknown size": lambda: slices(X, Y).filter(lambda *_: True),
    "PyDataset": lambda: Batches(X, Y),
}


@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
def test_inputs_may_have_any_type(make):
    model = classifier()
    expected = mc_predict(model, X, 6, batch_size=4, seed=1)
    found = mc_predict(model, make(), 6, batch_size=4, seed=1)
    for name in MEASURES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-9
        )


def test_one_input_in_a_list():
    x = keras.Input((4,))
    model = keras.Model([x], layers.Dropout(0.5)(x))
    assert mc_predict(model, [X], 30).std.min() > 0


def two_inputs():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    y = layers.Concatenate()([layers.Dropout(0.5)(a), layers.Dense(4)(b)])
    return a, b, layers.Dense(2)(y)


A, B = normal(10, 3), normal(10, 2, seed=1)
PAIRS = {
    "list": lambda: [A, B],
    "tuple": lambda: (A, B),
    "dict": lambda: {"b": B, "a": A},
    "dataset": lambda: slices((A, B), Y),
    "dataset of dicts": lambda: slices({"b": B, "a": A}, Y),
    "PyDataset": lambda: Batches([A, B], Y),
    "PyDataset of dicts": lambda: Batches({"a": A, "b": B}, Y),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_several_inputs_may_have_any_type(make):
    a, b, y = two_inputs()
    model = keras.Model([a, b], y)
    expected = mc_predict(model, [A, B], 6, batch_size=4, seed=1)
    found = mc_predict(model, make(), 6, batch_size=4, seed=1)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    assert found.std.max() > 0


def test_a_model_that_takes_a_dict():
    a, b, y = two_inputs()
    by_name, by_place = keras.Model({"b": b, "a": a}, y), keras.Model([a, b], y)
    found = mc_predict(by_name, {"a": A, "b": B}, 6, seed=1)
    expected = mc_predict(by_place, [A, B], 6, seed=1)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)


class TakesADict(keras.Model):
    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5)

    def call(self, inputs):
        return {"y": self.drop(inputs["a"]), "sum": ops.sum(inputs["b"], -1)}


def test_a_subclassed_model_of_dicts():
    prediction = mc_predict(TakesADict(), {"a": A, "b": B}, 30, return_samples=True)
    certain, random = prediction.samples  # in the order of their names
    np.testing.assert_allclose(certain, np.broadcast_to(B.sum(-1), (30, 10)), rtol=1e-5)
    assert_zero_or_twice(random, A)


def test_inputs_of_different_lengths_are_an_error():
    a, b, y = two_inputs()
    with pytest.raises(ValueError, match=r"length|rows|size|cardinal|samples"):
        mc_predict(keras.Model([a, b], y), [A[:4], B], 3, batch_size=4)


def text_model(rate, recurrent):
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(20, 4, mask_zero=True)(x)
    y = layers.Dropout(rate)(y)
    y = layers.LSTM(5, return_sequences=True)(y)
    return keras.Model(x, layers.GRU(3, recurrent_dropout=recurrent)(y))


WORDS = np.array([[3, 5, 0, 0, 0, 0], [4, 1, 2, 9, 7, 0], [7, 0, 0, 0, 0, 0]])


def test_masks_are_repeated_with_the_rows():
    """Without its mask a sample would go on over the padding."""
    model = text_model(NEVER, 0.0)
    samples = mc_predict(model, WORDS, 4, seed=1, return_samples=True).samples
    for sample in samples:
        expected = model.predict(WORDS, verbose=0)
        np.testing.assert_allclose(sample, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_masked_samples_are_those_of_keras_in_training_mode():
    model, count = text_model(0.5, 0.5), 1000
    drawn = mc_predict(model, WORDS, count, seed=1, return_samples=True).samples
    for i, row in enumerate(WORDS):
        expected = model(np.repeat(row[None], count, 0), training=True).numpy()
        for unit in range(3):
            assert same_distribution(100 * drawn[:, i, unit], 100 * expected[:, unit])


def test_a_mask_given_as_an_argument():
    x, keep = keras.Input((6, 4)), keras.Input((6,), dtype="bool")
    y = layers.LSTM(3)(layers.Dropout(NEVER)(x), mask=keep)
    model = keras.Model([x, keep], y)
    inputs = [normal(3, 6, 4), WORDS > 0]
    samples = mc_predict(model, inputs, 3, seed=1, return_samples=True).samples
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(
        samples, np.broadcast_to(expected, samples.shape), rtol=1e-5, atol=1e-6
    )


def test_texts():
    texts = np.array(["a b", "b c c", "a"])
    vectors = layers.TextVectorization(output_sequence_length=4)
    vectors.adapt(texts)
    x = keras.Input((), dtype="string")
    y = layers.Embedding(9, 4, mask_zero=True)(vectors(x))
    model = keras.Model(x, layers.LSTM(3, dropout=0.5)(y))
    assert np.all(mc_predict(model, texts, 20).std > 0)


def test_one_number_per_input():
    x = keras.Input(())
    model = keras.Model(x, layers.Dropout(0.5)(x))
    inputs = np.arange(1.0, 6.0, dtype="float32")
    prediction = mc_predict(model, inputs, 30, return_samples=True)
    assert prediction.mean.shape == (5,)
    assert_zero_or_twice(prediction.samples, inputs)


def test_sequences_of_another_length_each_time():
    x = keras.Input((None, 2))
    model = keras.Model(x, layers.GRU(3)(layers.Dropout(0.5)(x)))
    for length in (3, 5, 3):
        assert mc_predict(model, normal(2, length, 2), 4).mean.shape == (2, 3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions(policy):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(16, "relu", dtype=policy),
            layers.Dropout(0.5, dtype=policy),
            layers.Dense(3, "softmax", dtype=policy),
        ]
    )
    prediction = mc_predict(model, normal(5, 4), 20, return_samples=True)
    assert np.allclose(prediction.mean.sum(-1), 1, atol=1e-2)
    assert_measures(prediction)


def test_a_model_of_a_fixed_batch_size():
    model = keras.Sequential([keras.Input(batch_shape=(4, 9)), layers.Dropout(0.5)])
    x = 1 + np.arange(72, dtype="float32").reshape(8, 9)
    prediction = mc_predict(model, x, 30, batch_size=4, return_samples=True)
    assert prediction.samples.shape == (30, 8, 9)
    assert_zero_or_twice(prediction.samples, x)
    assert len(np.unique(prediction.samples.reshape(30, -1), axis=0)) == 30


# Whatever else predict takes


def test_ragged_and_sparse_inputs():
    words = keras.Input((None,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(words))
    texts = keras.Model(words, layers.Dense(2)(layers.Dropout(NEVER)(y)))
    numbers = keras.Input((4,), sparse=True)
    y = layers.Dropout(NEVER)(layers.Dense(4)(numbers))
    counts = keras.Model(numbers, layers.Dense(2)(y))
    ragged = tf.ragged.constant([[1, 2], [3], [4, 5, 6]])
    sparse = tf.sparse.from_dense(np.eye(3, 4, dtype="float32"))
    for model, x in ((texts, ragged), (counts, sparse)):
        expected = model.predict(x, verbose=0)
        data = tf.data.Dataset.from_tensor_slices(x).batch(2)
        for given in (x, data):
            found = mc_predict(model, given, 3, batch_size=2, seed=1, verbose=0)
            np.testing.assert_allclose(found.mean, expected, rtol=1e-5, atol=1e-6)


def test_a_batch_size_that_keras_froze_does_not_bind():
    model = keras.Sequential(
        [layers.Dense(8, "relu"), layers.Dropout(0.3), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    x = normal(8, 6)
    model.fit(x, x[:, :1], batch_size=4, verbose=0)
    assert model.inputs[0].shape[0] == 4
    free = keras.Sequential([keras.Input((6,)), *model.layers])
    for rows in (3, 8):
        found, expected = (
            mc_predict(m, x[:rows], 5, seed=1, verbose=0) for m in (model, free)
        )
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
        np.testing.assert_allclose(found.std, expected.std, rtol=1e-5)


def test_an_operation_that_holds_a_batch_size_binds():
    x = keras.Input(batch_shape=(4, 6))
    y = ops.reshape(layers.Dropout(NEVER)(x), (4, 2, 3))
    model = keras.Model(x, ops.sum(y, axis=1))
    batch = normal(8, 6)
    found = mc_predict(model, batch, 3, batch_size=4, verbose=0)
    np.testing.assert_allclose(found.mean, batch[:, :3] + batch[:, 3:], rtol=1e-5)


def test_large_integers_are_not_rounded():
    x = keras.Input((2,), dtype="int64")
    model = keras.Model(x, layers.Dropout(NEVER)(ops.cast(x % 10, "float32")))
    large = np.array([[2**24 + 1, 2**40 + 3]])
    np.testing.assert_array_equal(mc_predict(model, large, 2).mean, [[7, 9]])


def test_inputs_of_another_shape_are_named():
    model = classifier()
    with pytest.raises(ValueError, match=r"^x must .* \(None, 4\).* shape \(3, 2\)$"):
        mc_predict(model, normal(3, 2), 2, verbose=0)


def test_a_batch_of_another_size_than_the_states_is_named():
    x = keras.Input(batch_shape=(2, 3, 4))
    y = layers.LSTM(2, stateful=True)(x)
    model = keras.Model(x, layers.Dropout(0.5)(y))
    with pytest.raises(ValueError, match=r"batch_size must be 2.*batch of 4 inputs"):
        mc_predict(model, normal(4, 3, 4), 2, verbose=0)
    assert len(mc_predict(model, normal(4, 3, 4), 2, batch_size=2).mean) == 4


class OneOrBoth(layers.Layer):
    def call(self, one, other=None):
        return one if other is None else one + other


@pytest.mark.parametrize("first", [True, False], ids=["cut before", "cut after"])
def test_an_optional_input_may_be_left_out(first):
    one, other = keras.Input((3,)), keras.Input((3,), optional=True)
    drop = layers.Dropout(NEVER)
    y = OneOrBoth()(drop(one), other) if first else drop(OneOrBoth()(one, other))
    model, x = keras.Model([one, other], y), normal(4, 3)
    for given in ([x, None], [x, x]):
        found = mc_predict(model, given, 3, batch_size=3, verbose=0)
        np.testing.assert_allclose(found.mean, model(given), rtol=1e-6)


# Not finite


def test_predictions_that_are_not_finite_are_reported():
    end = layers.Dense(3, "softmax")
    model = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), end])
    x = normal(5, 4)
    expected = mc_predict(model, x, 9, seed=1)
    x[3, 1] = np.nan
    with pytest.warns(UserWarning, match=r"1 of 5 inputs .* position 3\. Look for NaN"):
        found = mc_predict(model, x, 9, seed=1)
    assert str(found).startswith("1 inputs: not finite\n")
    others = [0, 1, 2, 4]
    for name in MEASURES:
        value, wanted = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(value[others], wanted[others], rtol=1e-6)


def test_a_layer_of_weights_that_are_not_finite_is_named():
    model = classifier()
    broken = model.layers[-1]
    broken.kernel.assign(np.full(broken.kernel.shape, np.inf))
    with pytest.warns(UserWarning, match=rf"5 of 5 inputs .*'{broken.name}' has weigh"):
        mc_predict(model, normal(5, 4), 2)
