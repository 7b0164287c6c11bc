"""Copies of layers that a config cannot tell all of: what they share and what not."""

import functools
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.models import fold_batch_norm, rebuild, to_monte_carlo
from tests.keras_versions import needs_keras

layers = keras.layers


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def swoosh(x):
    return x * keras.ops.sigmoid(2 * x)


def relu(x):
    """Keras's config of it is the name, which is that of another function."""
    return x * x


class Cube:
    def __call__(self, x):
        return x**3


def chain(*members, shape=(4,), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *members])


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x))


def assert_copied(copy, model, x):
    """Equal in all that it returns and holds, with not one variable in common."""
    np.testing.assert_array_equal(outputs(copy, x), outputs(model, x))
    assert len(copy.variables) == len(model.variables)
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert [v.path for v in copy.weights] == [v.path for v in model.weights]
    assert [layer.name for layer in copy.layers] == [x.name for x in model.layers]
    for old, new in zip(model.variables, copy.variables, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())
        assert old.dtype == new.dtype
        assert old.trainable == new.trainable


FUNCTIONS = {
    "lambda": lambda x: keras.ops.leaky_relu(x, 0.1),
    "partial": functools.partial(keras.activations.leaky_relu, negative_slope=0.3),
    "not registered": swoosh,
    "named like Keras's": relu,
    "object": Cube(),
    "of TensorFlow": tf.nn.relu6,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_are_carried_over_by_reference(function):
    model = chain(
        layers.BatchNormalization(),
        layers.Dense(8, activation=function),
        layers.Activation(function),
        layers.Dropout(0.5),
        layers.Dense(2),
    )
    x = numbers(6, 4)
    copy = rebuild(model)
    assert_copied(copy, model, x)
    assert copy.layers[1].activation is copy.layers[2].activation is function
    folded = fold_batch_norm(model)
    assert len(folded.folded) == 1
    assert folded.max_error < 1e-5
    np.testing.assert_allclose(
        outputs(folded.model, x), outputs(model, x), rtol=1e-4, atol=1e-5
    )
    assert to_monte_carlo(model).layers[1].activation is function


@needs_keras(15, "take a function as a regularizer")
def test_functions_in_cells_initializers_penalties_and_constraints():
    def ones(shape, dtype=None):
        return keras.ops.ones(shape, dtype)

    def penalty(w):
        return keras.ops.sum(w)

    def bound(w):
        return keras.ops.clip(w, -1, 1)

    model = chain(
        layers.LSTM(4, activation=swoosh, return_sequences=True),
        layers.RNN(layers.GRUCell(3, activation=swoosh), return_sequences=True),
        layers.TimeDistributed(layers.Dense(3, activation=swoosh)),
        layers.Dense(
            2,
            kernel_initializer=ones,
            kernel_regularizer=penalty,
            bias_constraint=bound,
        ),
        shape=(5, 4),
    )
    copy = rebuild(model)
    assert_copied(copy, model, numbers(6, 5, 4))
    dense = copy.layers[-1]
    assert dense.kernel_initializer is ones
    assert dense.kernel.regularizer is penalty
    assert dense.bias.constraint is bound
    assert copy.losses[0] == model.losses[0]


class Notes:
    """An object that is no layer and holds one."""

    def __init__(self, layer):
        self.layer = layer


class Bare(layers.Layer):
    """As in most notebooks: no get_config and no **kwargs."""

    def __init__(self, units):
        super().__init__()
        self.first = layers.Dense(units, swoosh)
        self.more = [layers.Dense(units), {"norm": layers.BatchNormalization()}]
        self.mlp = keras.Sequential([layers.Dense(units, "relu"), layers.Dropout(0.2)])
        self.tracker = keras.metrics.Mean(name="tracker")
        self.notes = Notes(self.first)
        self.table = np.linspace(0, 1, units, dtype="float32")
        self.method = self.shifted
        self.drop = layers.Dropout(0.5)
        self.generator = keras.random.SeedGenerator(3)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")

    def shifted(self, x):
        return x @ self.kernel + self.table

    def call(self, x, training=None):
        x = self.mlp(self.method(self.notes.layer(x)), training=training)
        return self.drop(self.more[1]["norm"](self.more[0](x)), training=training)


class Nameless(layers.Layer):
    """Its config lacks name and dtype, and one argument."""

    def __init__(self, units, power=1):
        super().__init__()
        self.units, self.power, self.dense = units, power, layers.Dense(units)

    def call(self, x):
        return self.dense(x) ** self.power

    def get_config(self):
        return {"units": self.units}


class Tree(keras.Model):
    """A subclassed model, inside a functional one."""

    def __init__(self):
        super().__init__()
        self.dense, self.norm = layers.Dense(3, swoosh), layers.BatchNormalization()

    def call(self, x, training=None):
        return self.norm(self.dense(x), training=training)


@pytest.fixture(scope="module")
def own():
    return chain(Bare(4), Nameless(4, power=2), Tree(), layers.Dense(2))


def test_layers_of_ones_own_are_copied_as_they_are(own):
    x = numbers(6, 4)
    copy = rebuild(own)
    assert_copied(copy, own, x)
    bare, old = copy.layers[0], own.layers[0]
    assert bare.notes.layer is bare.first
    assert bare.method.__self__ is bare
    assert bare.tracker is not old.tracker
    assert bare.generator.state is not old.generator.state
    assert copy.layers[1].power == 2
    before = outputs(own, x)
    for variable in copy.trainable_variables:
        variable.assign(variable + 1)
    np.testing.assert_array_equal(outputs(own, x), before)
    assert np.abs(outputs(copy, x) - before).max() > 0.1


def test_a_copy_trains_and_is_copied_again(own):
    x = numbers(6, 4)
    copy = rebuild(rebuild(own))
    assert_copied(copy, own, x)
    copy.compile("sgd", "mse")
    copy.train_on_batch(x, x[:, :2])
    assert np.abs(outputs(copy, x) - outputs(own, x)).max() > 0


def test_layers_of_ones_own_in_another_dtype(own):
    x = numbers(6, 4)
    copy = rebuild(own, dtype="float64")
    assert {v.dtype for v in copy.weights} == {"float64"}
    bare = copy.layers[0]
    assert bare.compute_dtype == bare.first.compute_dtype == bare.table.dtype
    found = copy(x.astype("float64"))
    assert found.dtype == "float64"
    np.testing.assert_allclose(found, outputs(own, x), rtol=1e-4, atol=1e-5)
    # Exact where float32 rounds: the same sums in NumPy, in float64.
    tree, h = copy.layers[2], numbers(2, 4).astype("float64")
    kernel, bias = (w.astype("float64") for w in tree.dense.get_weights())
    z = h @ kernel + bias
    z = z / (1 + np.exp(-2 * z)) / np.sqrt(1 + tree.norm.epsilon)
    np.testing.assert_allclose(tree(h), z, rtol=1e-10)


def test_a_subclassed_model_is_copied_whole():
    model = Tree()
    x = numbers(5, 4)
    model.compile("adam", "mse")
    model.fit(x, x[:, :3], verbose=0)
    copy = rebuild(model)
    assert type(copy) is Tree
    assert not copy.compiled
    assert_copied(copy, model, x)
    copy.compile("adam", "mse")
    before = outputs(model, x)
    copy.fit(x, x[:, :3], verbose=0)
    np.testing.assert_array_equal(outputs(model, x), before)


class Tied(layers.Layer):
    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def call(self, x):
        return x @ keras.ops.transpose(self.embedding.embeddings)


class Borrows(layers.Layer):
    """It holds the weight of another layer, not the layer."""

    def __init__(self, embedding):
        super().__init__()
        self.weight = embedding.embeddings

    def call(self, x):
        return x @ keras.ops.transpose(self.weight)


def by_closure(embedding):
    return layers.Lambda(lambda x: x @ keras.ops.transpose(embedding.embeddings))


def by_closure_on_the_weight(embedding):
    weight = embedding.embeddings
    return layers.Lambda(lambda x: x @ keras.ops.transpose(weight))


@pytest.mark.parametrize("tie", [Tied, Borrows, by_closure, by_closure_on_the_weight])
def test_tied_weights_stay_tied_in_the_copy(tie):
    x = keras.Input((5,), dtype="int32")
    embedding = layers.Embedding(7, 4, name="words")
    y = layers.GlobalAveragePooling1D()(embedding(x))
    model = keras.Model(x, tie(embedding)(y))
    ids = np.arange(30).reshape(6, 5) % 7
    before = outputs(model, ids)
    copy = rebuild(model)
    assert_copied(copy, model, ids)
    words = copy.get_layer("words").embeddings
    words.assign(2 * words)
    # Once in the mean and once in the product.
    np.testing.assert_allclose(outputs(copy, ids), 4 * before, rtol=1e-5)
    np.testing.assert_array_equal(outputs(model, ids), before)


def test_a_layer_in_the_graph_and_in_a_wrapper_stays_one():
    dense, x = layers.Dense(4, "relu"), keras.Input((5, 4))
    model = keras.Model(x, dense(layers.TimeDistributed(dense)(x)))
    copy = rebuild(model)
    assert_copied(copy, model, numbers(2, 5, 4))
    assert len(copy.weights) == 2


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantised_attention_is_copied_with_its_state(mode):
    x = keras.Input((5, 4))
    y = layers.MultiHeadAttention(2, 3, dropout=0.3)(x, x)
    model = keras.Model(x, layers.Dense(2)(y))
    model.quantize(mode)
    copy = rebuild(model)
    assert_copied(copy, model, numbers(6, 5, 4))
    assert copy.layers[-1].quantization_mode == mode
    old, new = model.layers[1], to_monte_carlo(model).layers[1].layer
    for before, after in zip(old.weights, new.weights, strict=True):
        np.testing.assert_array_equal(before.numpy(), after.numpy())


def test_an_adapter_is_copied():
    model = chain(layers.Dense(8, swoosh), layers.Dense(2))
    model.layers[0].enable_lora(2, lora_alpha=3.0)
    model.layers[0].lora_kernel_b.assign(numbers(2, 8))
    copy = rebuild(model)
    assert_copied(copy, model, numbers(6, 4))
    assert copy.layers[0].lora_enabled
    assert copy.layers[0].lora_alpha == 3.0


class OfTensorFlow(layers.Layer):
    def __init__(self):
        super().__init__()
        self.state = tf.Variable([2.0], trainable=False)
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x):
        return x * self.state


def test_variables_of_tensorflow_are_not_shared():
    model = chain(OfTensorFlow())
    copy = rebuild(model)
    copy.layers[0].state.assign([3.0])
    copy.layers[0].generator.normal([2])
    x = numbers(2, 4)
    np.testing.assert_array_equal(outputs(model, x), 2 * x)
    np.testing.assert_array_equal(outputs(copy, x), 3 * x)
    fresh = tf.random.Generator.from_seed(1)
    np.testing.assert_array_equal(model.layers[0].generator.state, fresh.state)


@pytest.mark.parametrize("masking", ["embedding", "masking"])
def test_masks_survive_in_a_sequential_in_another_model(masking):
    if masking == "embedding":
        first = [layers.Embedding(10, 4, mask_zero=True), layers.LSTM(3)]
        inner = chain(*first, layers.BatchNormalization(), shape=(5,), dtype="int32")
        data = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0]])
    else:
        first = [layers.Masking(), layers.GRU(3, return_sequences=True)]
        inner = chain(*first, layers.GlobalAveragePooling1D(), shape=(5, 2))
        data = numbers(2, 5, 2)
        data[0, 3:] = data[1, 1:] = 0
    x = keras.Input(data.shape[1:], dtype=inner.inputs[0].dtype)
    model = keras.Model(x, layers.Dense(2)(inner(x)))
    assert_copied(rebuild(model), model, data)
    assert fold_batch_norm(model).max_error < 1e-5


def test_copying_draws_from_no_generator_and_copies_differ():
    model = chain(layers.SimpleRNN(3), layers.Dropout(0.5), shape=(4, 2))
    state = random.getstate()
    rebuild(model)
    first, second = to_monte_carlo(model), to_monte_carlo(model)
    assert random.getstate() == state
    x = numbers(64, 4, 2)
    assert np.abs(outputs(first, x) - outputs(second, x)).max() > 0


def lower(x):
    return tf.strings.lower(x)


class Words(layers.Layer):
    """A layer with assets, a vocabulary, inside one of one's own."""

    def __init__(self):
        super().__init__()
        self.lookup = layers.StringLookup(vocabulary=["a", "b"])
        self.embedding = layers.Embedding(4, 2)

    def call(self, x):
        return self.embedding(self.lookup(x))


def test_layers_with_a_vocabulary():
    text = layers.TextVectorization(standardize=lower, output_sequence_length=3)
    text.adapt(["A b c", "b d"])
    model = chain(text, layers.Embedding(9, 2), shape=(), dtype="string")
    words = tf.constant(["A b", "c D e"])
    copy = rebuild(model)
    assert_copied(copy, model, words)
    copy.layers[0].adapt(["z"])
    assert len(text.get_vocabulary()) == 6
    own = chain(Words(), shape=(), dtype="string")
    assert_copied(rebuild(own), own, tf.constant(["a", "?"]))


def test_a_new_layer_that_does_not_fit_one_of_ones_own_is_named():
    model = chain(layers.Dense(8, name="low"), Nameless(3))

    def narrower(layer):
        return layers.Dense(6) if layer.name == "low" else layer

    match = r"replace these too.\nReceived: .*have value 8, but received .*6\)$"
    with pytest.raises(ValueError, match=match):
        rebuild(model, narrower)
