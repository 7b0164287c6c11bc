"""An embedding trains exactly like the dense layer that takes one-hot vectors."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.rule_cases import OTHER_SPELLINGS, RULES

EACH = RULES | OTHER_SPELLINGS
CLIPS = [
    {},
    {"clipnorm": 0.05},
    {"global_clipnorm": 0.06},
    {"clipvalue": 0.01},
]
SOME = ["sgd", "adagrad", "adam"]
# With these, slots and epsilon matter after few steps.
NUMBERS = {"learning_rate": 0.05, "beta_2": 0.75, "rho": 0.75, "epsilon": 1e-3}


def made(name, **arguments):
    rule = EACH[name]
    numbers = {n: value for n, value in NUMBERS.items() if n in rule.numbers}
    if name == "adadelta":
        numbers["learning_rate"] = 1.0
    return rule.ours(**{**numbers, **arguments})


def label(arguments):
    return "-".join(f"{k}={v}" for k, v in arguments.items()) or "plain"


def flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


def assert_equal(actual, expected, rtol=1e-10):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


# One table is packed with the biases, the other is above 2 ** 15 numbers.
ROWS = {"packed": 20, "alone": 11_000}
BATCH = 8
RNG = np.random.default_rng(1)
# Low numbers are frequent: rows are repeated in a batch, and others missing.
TOKENS = {
    name: np.minimum(RNG.geometric(0.25, size=(32, 4)), rows - 1)
    for name, rows in ROWS.items()
}
LABELS = RNG.normal(size=(32, 1))
LOSS = keras.losses.MeanSquaredError(dtype="float64")


def one_hot(tokens, rows):
    return (tokens[..., None] == np.arange(rows)).astype("float64")


INPUTS = {
    "embedding": list(TOKENS.values()),
    "one-hot": [one_hot(TOKENS[name], ROWS[name]) for name in ROWS],
}


def table(kind, rows, columns=3):
    """An embedding, or the dense layer that does the same to one-hot vectors."""
    if kind == "embedding":
        return keras.layers.Embedding(rows, columns, dtype="float64")
    return keras.layers.Dense(columns, use_bias=False, dtype="float64")


def network(kind):
    """The mean embedding of each input's tokens, and a dense layer on both."""
    shapes = [(4,) if kind == "embedding" else (4, rows) for rows in ROWS.values()]
    inputs = [keras.Input(shape, dtype="float64") for shape in shapes]
    tables = [table(kind, rows) for rows in ROWS.values()]
    embedded = [layer(x) for layer, x in zip(tables, inputs, strict=True)]
    x = keras.layers.Concatenate(dtype="float64")(embedded)
    x = keras.layers.GlobalAveragePooling1D(dtype="float64")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(x))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def trained(kind, optimizer, epochs=1, **compile_arguments):
    model = network(kind)
    model.compile(optimizer, loss=LOSS, **compile_arguments)
    model.fit(INPUTS[kind], LABELS, BATCH, epochs, verbose=0, shuffle=False)
    return flat(model.get_weights())


@functools.cache
def one_hot_twin(rule, clip):
    return trained("one-hot", made(rule, **dict(clip)), run_eagerly=True)


@pytest.mark.parametrize(
    ("rule", "clip"),
    [(rule, {}) for rule in EACH]
    + [(rule, clip) for rule in SOME for clip in CLIPS[1:]]
    # A rule sees what is clipped, however that was done.
    + [
        (rule, CLIPS[1 + i % len(CLIPS[1:])])
        for i, rule in enumerate(RULES)
        if rule not in SOME
    ],
    ids=str,
)
def test_embeddings_train_like_their_one_hot_twins(rule, clip):
    actual = trained("embedding", made(rule, **clip), jit_compile=False)
    assert_equal(actual, one_hot_twin(rule, tuple(clip.items())))


def test_every_clip_of_these_tests_has_an_effect():
    ends = [one_hot_twin("nesterov", tuple(clip.items())) for clip in CLIPS]
    for i, end in enumerate(ends):
        for other in ends[:i]:
            assert np.abs(end - other).max() > 1e-4


@pytest.mark.parametrize(
    ("rule", "clip"),
    [(rule, CLIPS[i % len(CLIPS)]) for i, rule in enumerate(RULES)],
    ids=str,
)
def test_embeddings_train_like_their_one_hot_twins_in_xla(rule, clip):
    actual = trained("embedding", made(rule, **clip), jit_compile=True)
    assert_equal(actual, one_hot_twin(rule, tuple(clip.items())))


@pytest.mark.parametrize("rule", SOME)
def test_embeddings_train_like_their_twins_in_an_update_that_xla_compiles(rule):
    optimizer = made(rule, fused=True, global_clipnorm=0.06)
    actual = trained("embedding", optimizer, jit_compile=False)
    assert_equal(actual, one_hot_twin(rule, (("global_clipnorm", 0.06),)))


ARGUMENTS = [
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "global_clipnorm": 0.04},
    {"weight_decay": 0.1, "clipnorm": 0.05},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    {"nonfinite": "skip", "clipvalue": 0.01},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=label)
@pytest.mark.parametrize("rule", SOME)
def test_embeddings_train_like_their_twins_with(rule, arguments):
    actual = trained("embedding", made(rule, **arguments), epochs=2)
    expected = trained("one-hot", made(rule, **arguments), epochs=2, run_eagerly=True)
    assert_equal(actual, expected)


@pytest.mark.parametrize("rule", SOME)
def test_loss_scaling_changes_nothing(rule):
    clip = {"global_clipnorm": 0.06}
    expected = one_hot_twin(rule, tuple(clip.items()))
    scaled = keras.optimizers.LossScaleOptimizer(made(rule, **clip), 2.0**10)
    assert_equal(trained("embedding", scaled), expected)
    factor = made(rule, **clip, loss_scale_factor=8.0)
    assert_equal(trained("embedding", factor), expected)


class Shared(keras.layers.Layer):
    """One table for both inputs, which is also used as a matrix if `tied`."""

    def __init__(self, kind, rows, tied):
        super().__init__(dtype="float64")
        self.table, self.tied = table(kind, rows), tied

    def call(self, inputs):
        first, second = (self.table(x) for x in inputs)
        if self.tied:
            second = second * keras.ops.mean(self.table.weights[0] ** 2, axis=0)
        return keras.ops.concatenate([first, second], axis=-1)


def trained_with_shared_table(kind, rows, tied, optimizer, **compile_arguments):
    shape = (4,) if kind == "embedding" else (4, rows)
    inputs = [keras.Input(shape, dtype="float64") for _ in range(2)]
    x = Shared(kind, rows, tied)(inputs)
    x = keras.layers.GlobalAveragePooling1D(dtype="float64")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(x))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile(optimizer, loss=LOSS, **compile_arguments)
    x = [np.minimum(tokens, rows - 1) for tokens in TOKENS.values()]
    if kind == "one-hot":
        x = [one_hot(tokens, rows) for tokens in x]
    model.fit(x, LABELS, BATCH, verbose=0, shuffle=False)
    return flat(model.get_weights())


@pytest.mark.parametrize(
    ("rows", "tied", "jit_compile"),
    [
        (ROWS["packed"], False, True),
        (ROWS["packed"], True, False),
        (ROWS["alone"], False, False),
        (ROWS["alone"], True, True),
    ],
)
@pytest.mark.parametrize("rule", SOME)
def test_a_table_with_several_uses_trains_like_its_twin(rule, rows, tied, jit_compile):
    make = functools.partial(made, rule, global_clipnorm=0.06)
    assert_equal(
        trained_with_shared_table(
            "embedding", rows, tied, make(), jit_compile=jit_compile
        ),
        trained_with_shared_table("one-hot", rows, tied, make(), run_eagerly=True),
    )


# Gradients that stay sparse


def shapes_in_graph(graph):
    """The operations of a graph and of its functions, with their outputs' shapes."""
    graph_def = graph.as_graph_def(add_shapes=True)
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes += function.node_def
    return {
        (node.op, tuple(dim.size for dim in shape.dim))
        for node in nodes
        for shape in node.attr["_output_shapes"].list.shape
    }


def big_tensors(optimizer, shape=(20_000, 4)):
    """Operations of a sparse step whose output is as long as the table."""
    weight = keras.Variable(np.ones(shape, "float32"))
    other = keras.Variable(np.ones(3, "float32"))
    optimizer.build([weight, other])

    @tf.function
    def step(values, rows, g):
        slices = tf.IndexedSlices(values, rows, tf.constant(shape))
        optimizer.apply([slices, g], [weight, other])

    rows = tf.constant([5, 2, 5])
    values = tf.ones((3, *shape[1:]))
    concrete = step.get_concrete_function(values, rows, tf.ones(3))
    return {
        op
        for op, dims in shapes_in_graph(concrete.graph)
        if -1 not in dims and np.prod(dims, dtype=int) >= shape[0]
    }


@pytest.mark.parametrize("clip", CLIPS, ids=label)
@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
def test_no_step_of_these_makes_a_tensor_of_the_size_of_the_table(rule, clip):
    assert big_tensors(made(rule, **clip)) == set()


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [(rule, {}) for rule in EACH]
    + [("sgd", {"weight_decay": 0.1})]
    + [("adam", clip) for clip in CLIPS[1:]],
    ids=str,
)
def test_no_lazy_step_makes_a_tensor_of_the_size_of_the_table(rule, arguments):
    optimizer = made(rule, **arguments, sparse="lazy")
    assert big_tensors(optimizer) == set()


def test_the_search_for_big_tensors_finds_those_of_a_dense_rule():
    assert big_tensors(made("adam")) != set()


@pytest.mark.parametrize("clip", CLIPS, ids=label)
@pytest.mark.parametrize("rule", ["sgd", "adagrad"])
def test_rows_without_gradient_are_unchanged_bit_for_bit(rule, clip):
    optimizer = made(rule, **clip)
    start = np.random.default_rng(4).normal(size=(11_000, 4))
    weight = keras.Variable(start, dtype="float64")
    rows = tf.constant([7, 3, 7], tf.int64)
    slices = tf.IndexedSlices(tf.ones((3, 4), tf.float64), rows, weight.shape)
    optimizer.apply([slices], [weight])
    assert set(np.nonzero((weight.numpy() != start).any(axis=1))[0]) == {3, 7}
