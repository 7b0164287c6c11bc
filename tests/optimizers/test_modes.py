"""Every rule in every mode of training that Keras has."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn._keras.multi_optimizer import multi_optimizer
from tests.optimizers.rule_cases import RULES

SOME = ["nesterov", "adam"]
each_rule = pytest.mark.parametrize("name", RULES)
some_rules = pytest.mark.parametrize("name", SOME)

# 8 batches, exact in float32, to which Keras converts data.
RNG = np.random.default_rng(1)
X = RNG.normal(size=(32, 4)).astype("float32").astype("float64")
Y = np.sin(X.sum(axis=1, keepdims=True)).astype("float32").astype("float64")
BATCH = 4
LOSS = keras.losses.MeanSquaredError(dtype="float64")


def rate(name):
    if name in ("sgd", "momentum", "nesterov"):
        return 1e-4  # The wide layer diverges at more.
    return 1.0 if name == "adadelta" else 0.02


def ours(name, **arguments):
    return RULES[name].ours(**{"learning_rate": rate(name), **arguments})


def theirs(name, **arguments):
    return RULES[name].theirs(**{"learning_rate": rate(name), **arguments})


def flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


def assert_equal(actual, expected, rtol=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol)


def network(units=8200, dtype="float64", **dense):
    """Its first kernel is too large to be packed; the other weights are packed."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, activation="tanh", dtype=dtype, **dense),
            keras.layers.Dense(1, dtype=dtype, **dense),
        ]
    )
    rng = np.random.default_rng(2)
    kernel = rng.normal(size=(4, units)) / 2
    readout = rng.normal(size=(units, 1)) / units**0.5
    model.set_weights([kernel, 0.1 * rng.normal(size=units), readout, np.zeros(1)])
    return model


def compiled(optimizer, loss=LOSS, model=None, **compile_arguments):
    model = model or network()
    model.compile(optimizer, loss=loss, **compile_arguments)
    return model


def fitted(model, epochs=1, **fit_arguments):
    model.fit(X, Y, BATCH, epochs, verbose=0, shuffle=False, **fit_arguments)
    return flat(model.get_weights())


@functools.cache
def step_by_step(name):
    """The weights after an epoch, each step by hand."""
    model, optimizer = network(), ours(name)
    optimizer.build(model.trainable_variables)
    for step in range(len(X) // BATCH):
        train_step(model, optimizer, *batch(step))
    return flat(model.get_weights())


def batch(step):
    rows = slice(step * BATCH, (step + 1) * BATCH)
    return tf.constant(X[rows]), tf.constant(Y[rows])


def train_step(model, optimizer, x, y):
    with tf.GradientTape() as tape:
        loss = LOSS(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


class CountedLoss(keras.losses.MeanSquaredError):
    """A loss that counts its traces."""

    traces = 0

    def call(self, y, y_hat):
        self.traces += 1
        return super().call(y, y_hat)


@pytest.mark.parametrize(
    "mode",
    [{"jit_compile": False}, {"jit_compile": True, "steps_per_execution": 3}],
    ids=str,
)
@each_rule
def test_fit_is_training_step_by_step(name, mode):
    loss, noted = CountedLoss(dtype="float64"), []
    model = compiled(ours(name), loss, **mode)
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: noted.append(loss.traces)
    )
    actual = fitted(model, callbacks=[note])
    assert_equal(actual, step_by_step(name))
    assert int(model.optimizer.iterations) == 8
    # The last two steps are traced separately from blocks of three.
    assert len(set(noted[:2])) == 1
    if "steps_per_execution" not in mode:
        assert set(noted) == {1}


@pytest.mark.parametrize(
    "mode",
    [
        {"jit_compile": True},
        {"jit_compile": False, "steps_per_execution": 3},
        {"jit_compile": "auto"},
        {"jit_compile": "auto", "steps_per_execution": 3},
        {"run_eagerly": True},
    ],
    ids=str,
)
@some_rules
def test_other_modes_are_training_step_by_step_too(name, mode):
    assert_equal(fitted(compiled(ours(name), **mode)), step_by_step(name))


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [(name, None) for name in RULES] + [(name, True) for name in SOME],
)
def test_a_custom_training_loop_in_a_graph(name, jit_compile):
    model, optimizer = network(), ours(name)
    optimizer.build(model.trainable_variables)
    step = tf.function(
        functools.partial(train_step, model, optimizer), jit_compile=jit_compile
    )
    for t in range(len(X) // BATCH):
        step(*batch(t))
    assert_equal(flat(model.get_weights()), step_by_step(name))
    assert step.experimental_get_tracing_count() == 1


@some_rules
def test_an_optimizer_may_be_built_in_its_first_step(name):
    model, optimizer = network(), ours(name)
    step = tf.function(functools.partial(train_step, model, optimizer))
    for t in range(len(X) // BATCH):
        step(*batch(t))
    assert_equal(flat(model.get_weights()), step_by_step(name))
    assert step.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("jit_compile", [False, True])
@some_rules
def test_a_second_fit_continues_where_the_first_stopped(name, jit_compile):
    once, twice = (compiled(ours(name), jit_compile=jit_compile) for _ in range(2))
    fitted(twice)
    np.testing.assert_array_equal(fitted(twice), fitted(once, epochs=2))


class Stumble(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise InterruptedError


@pytest.mark.parametrize("jit_compile", [False, True])
@some_rules
def test_training_continues_after_an_exception(name, jit_compile):
    model = compiled(ours(name), jit_compile=jit_compile)
    with pytest.raises(InterruptedError):
        fitted(model, callbacks=[Stumble()])
    actual = fitted(model)
    twin, optimizer = network(), ours(name)
    for t in (0, 1, 2, *range(8)):
        train_step(twin, optimizer, *batch(t))
    assert_equal(actual, flat(twin.get_weights()))


# Low precision


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("name", "policy", "jit_compile"),
    [(name, "mixed_float16", False) for name in RULES]
    + [(name, "mixed_bfloat16", False) for name in (*SOME, "adagrad", "adadelta")]
    + [("adam", "mixed_float16", True)],
    indirect=["policy"],
)
def test_mixed_precision_is_that_of_keras(name, policy, jit_compile):
    moves = []
    for make in (ours, theirs):
        model = network(6, policy)
        start = flat(model.get_weights())
        optimizer = make(name, learning_rate=0.05)
        compiled(optimizer, "mse", model, jit_compile=jit_compile)
        moves.append(fitted(model) - start)
        scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
    # A last bit of the weight may change how it rounds in low precision.
    largest = np.abs(moves[1]).max()
    assert largest > 3e-4
    np.testing.assert_allclose(*moves, rtol=5e-3, atol=2e-3 * largest)


def test_multi_optimizer_trains_a_layer_with_each_rule():
    weights = []
    for make in (ours, theirs):
        inputs = keras.Input((4,))
        towers, optimizers = [], {}
        for name in RULES:
            layer = keras.layers.Dense(
                1, name=name.replace("-", "_"), dtype="float64", bias_initializer="ones"
            )
            towers.append(layer(inputs))
            rule = make(name, clipnorm=0.5, learning_rate=0.05)
            optimizers[f"{layer.name}/.*"] = rule
        model = keras.Model(inputs, keras.layers.Average(dtype="float64")(towers))
        rng = np.random.default_rng(3)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        several = multi_optimizer(keras.optimizers.SGD(), optimizers)
        model.compile(several, loss=LOSS, jit_compile=False)
        weights.append(fitted(model))
    assert_equal(*weights)


# Constraints


SHORT, POSITIVE = keras.constraints.MaxNorm(0.8), keras.constraints.NonNeg()


@pytest.mark.parametrize(
    ("name", "kernels", "biases", "jit_compile"),
    [(name, SHORT, POSITIVE, False) for name in RULES]
    + [(name, POSITIVE, SHORT, True) for name in SOME],
)
def test_constraints_apply_to_small_and_large_weights(
    name, kernels, biases, jit_compile
):
    dense = {"kernel_constraint": kernels, "bias_constraint": biases}
    arguments = {"weight_decay": 0.1, "clipnorm": 0.5}
    model = network(**dense)
    compiled(ours(name, **arguments), model=model, jit_compile=jit_compile)
    actual = fitted(model)
    twin, optimizer = network(**dense), theirs(name, **arguments)
    for t in range(len(X) // BATCH):
        train_step(twin, optimizer, *batch(t))
    assert_equal(actual, flat(twin.get_weights()))
    kernel, bias, *_ = model.get_weights()
    assert ((kernel if kernels is POSITIVE else bias) >= 0).all()
    lengths = np.linalg.norm(kernel if kernels is SHORT else bias, axis=0)
    assert lengths.max() <= 0.8 + 1e-6
