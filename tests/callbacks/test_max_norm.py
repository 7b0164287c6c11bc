"""`MaxNorm`: on the right axes, after every update, and gone at the end."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn import optimizers
from keras_dnn.callbacks import GradientNorms, MaxNorm
from tests.callbacks.gradient_replay import parts, traces_of_ours
from tests.test_kernel_axes import built, influence, neurons

layers = keras.layers
RADIUS = 0.4


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def data(shape=(6,), outputs=3, samples=20):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(samples, *shape)).astype("float32")
    return x, 3 * rng.normal(size=(samples, outputs)).astype("float32")


def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(3)]
    )


def column_norms(model):
    return np.concatenate(
        [
            np.linalg.norm(v.numpy().astype("float64"), axis=0)
            for v in model.weights[::2]
        ]
    )


def fit(model, probes, *, x=None, y=None, **options):
    default_x, default_y = data()
    return model.fit(
        default_x if x is None else x,
        default_y if y is None else y,
        batch_size=4,
        shuffle=False,
        verbose=0,
        callbacks=probes,
        **options,
    )


# Axes


@pytest.mark.parametrize(
    "kind", ["dense", "einsum over two", "grouped", "transposed 2D", "depthwise 2D"]
)
def test_the_vector_of_a_neuron_is_what_its_output_depends_on(kind):
    layer, shape = built(kind)
    x = tf.random.normal((1, *shape)) + 3.0
    kernel = layer.kernel
    whole = neurons(influence(layer, kernel, x))
    start = 3.0 * np.sign(kernel.numpy()) + kernel.numpy()
    kernel.assign(start)
    bounded(layer, x, shape)
    after = kernel.numpy().reshape(-1).astype("float64")
    before = start.reshape(-1).astype("float64")
    assert sum(row.sum() for row in whole) == after.size  # a partition
    for row in whole:
        norm = np.linalg.norm(before[row])
        assert norm > RADIUS
        np.testing.assert_allclose(after[row], before[row] * RADIUS / norm, rtol=1e-6)


def bounded(layer, x, shape):
    """Trains at a rate of almost nothing: what is left is the first projection."""
    model = keras.Sequential([keras.Input(shape), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros_like(model(x))
    model.fit(x, y, verbose=0, callbacks=[MaxNorm(RADIUS)])


def held(kernel, axes):
    norms = np.sqrt(np.sum(kernel.numpy().astype("float64") ** 2, axis=axes))
    return norms.max()


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (
            lambda: layers.SeparableConv1D(3, 2, depth_multiplier=2),
            (3, 2),
            {"depthwise_kernel": 0, "pointwise_kernel": (0, 1)},
        ),
        (
            lambda: layers.SeparableConv2D(3, 2),
            (3, 3, 2),
            {"depthwise_kernel": (0, 1), "pointwise_kernel": (0, 1, 2)},
        ),
        (lambda: layers.LSTM(2), (3, 2), {"kernel": 0, "recurrent_kernel": 0}),
        (lambda: layers.GRU(2), (3, 2), {"kernel": 0, "recurrent_kernel": 0}),
        (lambda: layers.SimpleRNN(2), (3, 2), {"kernel": 0, "recurrent_kernel": 0}),
        (
            lambda: layers.Bidirectional(layers.LSTM(2)),
            (3, 2),
            {"kernel": 0, "recurrent_kernel": 0},
        ),
        (
            lambda: layers.ConvLSTM1D(2, 2),
            (2, 3, 2),
            {"kernel": (0, 1), "recurrent_kernel": (0, 1)},
        ),
        (lambda: layers.TimeDistributed(layers.Dense(2)), (3, 2), {"kernel": 0}),
        (
            lambda: keras.Sequential([layers.Conv1D(2, 2), layers.Flatten()]),
            (3, 2),
            {"kernel": (0, 1)},
        ),
    ],
)
def test_layers_with_parts(make, shape, expected):
    keras.utils.set_random_seed(1)
    layer = make()
    x = tf.random.normal((1, *shape))
    layer(x)
    ends = {v.path: v.path.rsplit("/", 1)[1] for v in layer.weights}
    kernels = [v for v in layer.weights if ends[v.path] in expected]
    assert kernels
    for kernel in kernels:
        kernel.assign(3.0 + kernel)
    bounded(layer, x, shape)
    for kernel in kernels:
        norms = np.sqrt(
            np.sum(
                kernel.numpy().astype("float64") ** 2, axis=expected[ends[kernel.path]]
            )
        )
        np.testing.assert_allclose(norms, RADIUS, rtol=1e-6)


def test_an_attention_layer_is_bounded_in_each_projection():
    keras.utils.set_random_seed(1)
    x = keras.Input((3, 4))
    attention = layers.MultiHeadAttention(2, 3)
    model = keras.Model(x, attention(x, x))
    for v in model.weights:
        v.assign(v + 3.0)
    biases = {v.path: v.numpy() for v in model.weights if "bias" in v.path}
    model.compile(keras.optimizers.SGD(0.0), "mse")
    data_x = np.ones((4, 3, 4), "float32")
    model.fit(data_x, data_x, verbose=0, callbacks=[MaxNorm(RADIUS)])
    for v in model.weights:
        if "bias" in v.path:
            np.testing.assert_array_equal(v, biases[v.path])
            continue
        axes = (0, 1) if "output" in v.path else 0
        norms = np.sqrt(np.sum(v.numpy().astype("float64") ** 2, axis=axes))
        np.testing.assert_allclose(norms, RADIUS, rtol=1e-6)


def test_of_an_embedding_each_row_is_bounded():
    table = layers.Embedding(5, 3)
    model = keras.Sequential(
        [keras.Input((2,), dtype="int32"), table, layers.Flatten()]
    )
    start = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    start[1] *= 1e-3
    table.embeddings.assign(start)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.array([[0, 1], [2, 2]])
    model.fit(x, np.zeros((2, 6)), verbose=0, callbacks=[MaxNorm(RADIUS)])
    norms = np.linalg.norm(start, axis=1, keepdims=True)
    expected = start * np.minimum(1, RADIUS / norms)
    np.testing.assert_allclose(table.embeddings, expected, rtol=1e-6)
    np.testing.assert_array_equal(table.embeddings[1], start[1])


# After every update


def replay(model, x, y, rate, epochs=1):
    """SGD by hand in float64, projected before the first and after every update."""
    w = [v.numpy().astype("float64") for v in model.weights]

    def project():
        for i in (0, 2):
            norms = np.linalg.norm(w[i], axis=0)
            w[i] = w[i] * np.minimum(1, RADIUS / norms)

    project()
    for _ in range(epochs):
        for i in range(0, len(x), 4):
            a, target = x[i : i + 4].astype("float64"), y[i : i + 4]
            hidden = np.tanh(a @ w[0] + w[1])
            error = 2 * (hidden @ w[2] + w[3] - target) / target.size
            back = (error @ w[2].T) * (1 - hidden**2)
            gradients = [a.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
            w = [v - rate * g for v, g in zip(w, gradients, strict=True)]
            project()
    return w


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jit_compile": True},
        {"steps_per_execution": 3},
        slow({"run_eagerly": True}),
    ],
)
@pytest.mark.parametrize("rule", [keras.optimizers.SGD, optimizers.SGD])
def test_training_is_that_of_a_replay_with_projections(rule, options):
    model = network()
    expected = replay(model, *data(), 0.5, epochs=2)
    free = [v.numpy() for v in model.weights]
    model.compile(rule(0.5), "mse", **options)
    fit(model, [MaxNorm(RADIUS)], epochs=2)
    for found, by_hand, start in zip(model.weights, expected, free, strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=2e-4, atol=1e-6)
        assert np.abs(found - start).max() > 1e-2


RULES = [
    optimizers.Adam,
    optimizers.Nesterov,
    keras.optimizers.Adam,
    slow(keras.optimizers.RMSprop),
]
MODES = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "clipped": {"global_clipnorm": 0.5},
    "averaged": {"use_ema": True, "ema_momentum": 0.5},
    "overwritten": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "decayed": {"weight_decay": 0.1},
}


class Watch(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.largest = []

    def on_train_batch_end(self, batch, logs=None):
        self.largest.append(column_norms(self.model).max())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rule", RULES)
def test_the_bound_holds_after_every_update_and_at_the_end(rule, mode):
    model = network()
    model.compile(rule(0.3, **MODES[mode]), "mse")
    watch = Watch()
    fit(model, [MaxNorm(RADIUS), watch], epochs=2)
    assert len(watch.largest) == 10
    assert max(watch.largest) <= RADIUS * (1 + 1e-6)
    assert column_norms(model).max() <= RADIUS * (1 + 1e-6)
    assert column_norms(model).max() > 0.9 * RADIUS


def test_the_bound_holds_under_loss_scaling():
    keras.utils.set_random_seed(1)
    dtype = "mixed_float16"
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, "tanh", dtype=dtype),
            layers.Dense(3, dtype=dtype),
        ]
    )
    model.compile(
        keras.optimizers.LossScaleOptimizer(optimizers.Adam(0.3), initial_scale=1024.0),
        "mse",
    )
    watch = Watch()
    fit(model, [MaxNorm(RADIUS), watch])
    assert max(watch.largest) <= RADIUS * (1 + 1e-6)


def test_several_optimizers():
    model = network()
    each = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(0.5), {".*kernel": optimizers.Adam(0.3)}
    )
    model.compile(keras.optimizers.MultiOptimizer(each), "mse")
    watch = Watch()
    fit(model, [MaxNorm(RADIUS), watch])
    assert max(watch.largest) <= RADIUS * (1 + 1e-6)


@pytest.mark.parametrize("rule", [optimizers.Adam, keras.optimizers.Adam])
def test_two_replicas_are_as_one_device(rule, two_replicas):
    x, y = data(samples=16)

    def trained():
        model = network()
        model.compile(rule(0.05), "mse")
        fit(model, [MaxNorm(RADIUS)], x=x, y=y, epochs=2)
        return model.get_weights()

    alone = trained()
    with two_replicas.scope():
        together = trained()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_a_model_built_by_its_first_batch():
    model = keras.Sequential([layers.Dense(5, "tanh"), layers.Dense(3)])
    model.compile(optimizers.Adam(0.3), "mse")
    watch = Watch()
    fit(model, [MaxNorm(RADIUS), watch])
    assert max(watch.largest) <= RADIUS * (1 + 1e-6)


# What is left alone


def test_weights_inside_are_untouched_to_the_last_bit():
    def trained(probes):
        model = network()
        model.compile(optimizers.Adam(0.01), "mse")
        fit(model, probes, epochs=2)
        return model.get_weights()

    for one, other in zip(trained([]), trained([MaxNorm(50.0)]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-20, -0.0])
def test_zero_and_tiny_weights_stay(size):
    model = network()
    model.layers[0].kernel.assign(np.full((6, 5), size, "float32"))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, [MaxNorm(RADIUS)])
    np.testing.assert_array_equal(
        model.layers[0].kernel, np.full((6, 5), size, "float32")
    )


def test_frozen_layers_and_biases_stay():
    model = network()
    model.layers[0].kernel.assign(np.full((6, 5), 9.0))
    model.layers[0].trainable = False
    model.layers[1].bias.assign(np.full(3, 9.0))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, [MaxNorm(RADIUS)])
    assert (model.layers[0].kernel.numpy() == 9.0).all()
    assert (model.layers[1].bias.numpy() == 9.0).all()


class PlannedError(Exception):
    pass


class Raises(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise self.error


@pytest.mark.parametrize("error", [None, PlannedError(), KeyboardInterrupt()])
def test_the_models_own_constraints_apply_and_come_back(error):
    own = keras.constraints.NonNeg()
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, "tanh", kernel_constraint=own),
            layers.Dense(3),
        ]
    )
    model.compile(optimizers.Adam(0.1), "mse")
    watch = Watch()
    probes = [MaxNorm(RADIUS), watch]
    if error is None:
        fit(model, probes)
    else:
        with pytest.raises(type(error)):
            fit(model, [*probes, Raises(error)])
        error.__traceback__ = None
        fit(model, [])
    first, _, second, _ = model.weights
    assert first.constraint is own
    assert second.constraint is None
    assert (first.numpy() >= 0).all()
    assert max(watch.largest) <= RADIUS * (1 + 1e-6)
    assert traces_of_ours(*parts(model)) == []
    fit(model, [], epochs=10)
    assert column_norms(model).max() > RADIUS


def test_a_model_fitted_before_and_again():
    model = network()
    model.compile(optimizers.Adam(0.1), "mse")
    fit(model, [])
    probe = MaxNorm(RADIUS)
    for _ in range(2):
        watch = Watch()
        fit(model, [probe, watch])
        assert max(watch.largest) <= RADIUS * (1 + 1e-6)
    fit(model, [], epochs=10)
    assert column_norms(model).max() > RADIUS


@pytest.mark.parametrize("order", [1, -1])
def test_ratios_are_those_of_updates_with_the_bound(order):
    model = network()
    norms = GradientNorms()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    seen = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(model.get_weights())

    fit(model, [*[norms, MaxNorm(RADIUS)][::order], Weights()])
    for step in range(1, 5):
        for i in (0, 2):
            moved = np.linalg.norm(seen[step][i] - seen[step - 1][i])
            ratio = moved / np.linalg.norm(seen[step - 1][i])
            np.testing.assert_allclose(norms.ratios[step, i], ratio, rtol=1e-4)


# Arguments


@pytest.mark.parametrize("choice", ["name", "layer", "model"])
def test_only_the_named_layers_are_bounded(choice):
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, name="a")], name="inner"
    )
    model = keras.Sequential([keras.Input((6,)), inner, layers.Dense(3, name="b")])
    for v in model.weights:
        v.assign(v + 2.0)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    chosen = {"name": "a", "layer": inner.layers[0], "model": "inner"}[choice]
    fit(model, [MaxNorm(RADIUS, layers=[chosen])])
    assert held(inner.layers[0].kernel, 0) <= RADIUS * (1 + 1e-6)
    assert held(model.layers[1].kernel, 0) > 2.0


def test_axis_takes_the_place_of_the_known_ones():
    model = network()
    for v in model.weights:
        v.assign(v + 2.0)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, [MaxNorm(RADIUS, axis=1)])
    for v in model.weights[::2]:
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), RADIUS, rtol=1e-6)


class Own(layers.Layer):
    def build(self, shape):
        self.mixing = self.add_weight(shape=(shape[-1], 3), initializer="ones")
        self.shift = self.add_weight(shape=(3,), initializer="ones")

    def call(self, x):
        return x @ self.mixing + self.shift


def test_a_layer_of_ones_own_needs_an_axis():
    model = keras.Sequential([keras.Input((6,)), Own(name="own")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    with pytest.raises(ValueError, match=r"axis must be given.*Received: 'own'"):
        fit(model, [MaxNorm(RADIUS, layers=["own"])])
    with pytest.raises(ValueError, match="knows no layer"):
        fit(model, [MaxNorm(RADIUS)])
    fit(model, [MaxNorm(RADIUS, layers=["own"], axis=0)])
    own = model.layers[0]
    np.testing.assert_allclose(np.linalg.norm(own.mixing, axis=0), RADIUS, rtol=1e-6)
    assert (own.shift.numpy() == 1.0).all()


@pytest.mark.parametrize("value", [0, -1, "a", None, float("inf"), float("nan")])
def test_max_value_must_be_a_number_above_zero(value):
    with pytest.raises(ValueError, match=r"max_value must be.*Received: max_value="):
        MaxNorm(value)


@pytest.mark.parametrize("axis", [2, (0, -3)])
def test_axis_must_be_one_of_the_kernel(axis):
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"axis must be in.*Received: axis="):
        fit(model, [MaxNorm(1.0, axis=axis)])


@pytest.mark.parametrize("axis", [(), 0.5, "rows"])
def test_axis_must_be_of_integers(axis):
    with pytest.raises(ValueError, match=r"axis must be"):
        MaxNorm(1.0, axis=axis)


def test_layers_must_be_of_the_model():
    model = network()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Received: 'nothing'"):
        fit(model, [MaxNorm(1.0, layers=["nothing"])])
    assert traces_of_ours(*parts(model)) == []
