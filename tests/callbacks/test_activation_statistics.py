"""Every number of `ActivationStatistics` against outputs that are taken another way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import ActivationStatistics
from tests.callbacks.activation_replay import (
    assert_recorded,
    convolutional,
    data,
    statistics_of,
)
from tests.callbacks.harness import (
    fit,
)

layers = keras.layers


SELU = 1.0507009873554805, 1.6732632423543772


def taken(model, x):
    """The outputs of all layers of a functional model without nested ones."""
    kept = [
        layer
        for layer in model.layers
        if not isinstance(layer, layers.InputLayer | layers.Dropout | layers.Flatten)
    ]
    return keras.Model(model.inputs[0], [layer.output for layer in kept])(x)


@pytest.mark.parametrize(
    "options",
    [{}, {"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}],
)
def test_every_snapshot_is_of_the_outputs_at_its_time(options):
    x, y = data((6, 6, 2))
    model = convolutional()
    model.compile("adam", "mse", **options)
    probe = ActivationStatistics(x[:8])
    outputs = [taken(model, x[:8])]

    class Take(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            outputs.append(taken(model, x[:8]))

    fit(model, (x, y), [probe, Take()], epochs=2)
    assert probe.steps.tolist() == [0, 4, 8]
    for snapshot in range(3):
        assert_recorded(
            probe, snapshot, outputs[snapshot], slopes={3: lambda y: 1 - y**2}
        )
    names = ["conv2d", "batch_normalization", "max_pooling2d", "dense", "dense_1"]
    for name, kind in zip(probe.names, names, strict=True):
        assert kind.rstrip("_1") in name


def test_float64_to_ten_digits():
    x = data(samples=64)[0].astype("float64")
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="float64"),
            layers.Dense(5, "relu", dtype="float64"),
            layers.Dense(3, "sigmoid", dtype="float64"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    probe = ActivationStatistics(tf.constant(x))
    model.fit(x, np.zeros((64, 3)), verbose=0, callbacks=[probe])
    outputs = taken(model, x)
    assert_recorded(
        probe, -1, outputs, rtol=1e-10, slopes={1: lambda y: 4 * y * (1 - y)}
    )


def test_nested_shared_and_attention_layers():
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.Input((4, 3)), layers.Dense(3, "tanh", name="deep")], name="inner"
    )
    shared = layers.Dense(3, "relu", name="shared")
    attention = layers.MultiHeadAttention(2, 2, name="attention")
    a = keras.Input((4, 3), name="a")
    b = keras.Input((4, 3), name="b")
    one, other = shared(inner(a)), shared(b)
    mixed = attention(one, other)
    model = keras.Model({"a": a, "b": b}, layers.Dense(2, name="top")(mixed))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(6, 4, 3)).astype("float32") for name in "ab"}
    probe = ActivationStatistics(x)
    model.fit(x, np.zeros((6, 4, 2)), verbose=0, callbacks=[probe], epochs=1)
    recorded = zip(probe.means[-1], probe.stds[-1], strict=True)
    found = dict(zip(probe.names, recorded, strict=True))
    deep = inner(x["a"])
    both = np.concatenate([shared(deep), shared(x["b"])])
    result = attention(shared(deep), shared(x["b"]))
    query = attention._query_dense(shared(deep))
    for name, output in {
        "deep": deep,
        "shared": both,
        "query": query,
        "top": model(x),
    }.items():
        (path,) = [p for p in found if p.rsplit("/", 1)[-1] == name]
        np.testing.assert_allclose(found[path], statistics_of(output)[:2], rtol=1e-5)
    assert "attention" in found
    np.testing.assert_allclose(found["attention"], statistics_of(result)[:2], rtol=1e-5)
    assert not any(path.endswith("inner") for path in found)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3),
        lambda: layers.GRU(3, return_sequences=True),
        lambda: layers.Bidirectional(layers.SimpleRNN(3)),
        lambda: layers.TimeDistributed(layers.Dense(3)),
        lambda: layers.LSTM(3, unroll=True),
    ],
)
def test_layers_with_loops_are_recorded_from_outside(make):
    keras.utils.set_random_seed(1)
    layer = make()
    x = np.random.default_rng(0).normal(size=(6, 4, 2)).astype("float32")
    model = keras.Sequential([keras.Input((4, 2)), layer])
    model.compile("sgd", "mse")
    probe = ActivationStatistics(x)
    model.fit(x, np.zeros_like(model(x)), verbose=0, callbacks=[probe])
    assert not any("cell" in name for name in probe.names)
    place = probe.names.index(layer.path)
    found = probe.means[-1, place], probe.stds[-1, place]
    np.testing.assert_allclose(found, statistics_of(layer(x))[:2], rtol=1e-5)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(5, activation="relu")
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(self.first(x))


@pytest.mark.parametrize("made", ["subclassed", "deferred"])
def test_models_that_are_built_by_their_first_batch(made):
    x, y = data()
    keras.utils.set_random_seed(1)
    model = Subclassed()
    if made == "deferred":
        model = keras.Sequential([layers.Dense(5, "relu"), layers.Dense(2)])
    model.compile("sgd", "mse")
    probe = ActivationStatistics(x)
    fit(model, (x, y), [probe])
    assert probe.steps.tolist() == [4]
    first, last = model.layers
    hidden = first(x)
    assert_recorded(probe, -1, [hidden, last(hidden)])


# Dead, saturated and nonfinite outputs


SLOPES = {
    "sigmoid": lambda y: 4 * y * (1 - y),
    "tanh": lambda y: 1 - y**2,
    "softsign": lambda y: (1 - np.abs(y)) ** 2,
    "elu": lambda y: 1 + np.minimum(y, 0),
    "selu": lambda y: 1 + np.minimum(y, 0) / (SELU[0] * SELU[1]),
    "hard_sigmoid": lambda y: ((y > 0) & (y < 1)).astype(float),
    "relu6": lambda y: (y < 6).astype(float),
    "relu": None,
    "linear": None,
    "gelu": None,
    "softmax": None,
}


@pytest.mark.parametrize("activation", SLOPES)
@pytest.mark.parametrize("apart", [False, True])
def test_saturated_units(activation, apart):
    act = keras.activations.get(activation)
    # So many that a threshold off by 1% moves some of them across it.
    units = 8000
    tail = [layers.Dense(units), layers.Activation(act)]
    tail = tail if apart else [layers.Dense(units, act)]
    model = keras.Sequential([keras.Input((3,)), *tail, layers.Dense(1)])
    rng = np.random.default_rng(0)
    model.layers[0].set_weights(
        [0.1 * rng.normal(size=(3, units)), np.linspace(-9, 9, units)]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = rng.normal(size=(20, 3)).astype("float32")
    probe = ActivationStatistics(x)
    model.fit(x, x[:, :1], verbose=0, callbacks=[probe])
    outputs = x
    for layer in model.layers[:-1]:
        outputs = layer(outputs)
    slope = SLOPES[activation]
    _, _, dead, saturated = statistics_of(outputs, slope)
    place = len(tail) - 1
    found = probe.saturated[-1, place]
    # A unit or two may lie so near that rounding decides.
    assert found == pytest.approx(saturated, abs=3e-4, nan_ok=True)
    if slope is not None:
        assert 0.1 < saturated < 0.9
    if activation != "gelu":  # whose tiniest outputs a graph may flush to zero
        assert probe.dead[-1, place] == pytest.approx(dead, abs=3e-4)
    if activation == "relu":
        assert 0.2 < dead < 0.8


@pytest.mark.parametrize(
    ("layer", "slope"),
    [
        (layers.ELU(0.5), lambda y: 1 + np.minimum(y, 0) / 0.5),
        (layers.ReLU(max_value=2.0), lambda y: (y < 2.0).astype(float)),
        (layers.ReLU(), None),
        (layers.LeakyReLU(), None),
    ],
)
def test_activations_that_are_layers(layer, slope):
    model = keras.Sequential([keras.Input((40,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(30, 40)).astype("float32")
    x += np.linspace(-9, 9, 40, dtype="float32")
    probe = ActivationStatistics(x)
    model.fit(x, x[:, :1], verbose=0, callbacks=[probe])
    expected = statistics_of(layer(x), slope)
    assert probe.saturated[-1, 0] == pytest.approx(expected[3], nan_ok=True)
    assert probe.dead[-1, 0] == pytest.approx(expected[2])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_units_of_an_activation_behind_a_convolution_are_its_channels(data_format):
    """An activation has no data format of its own; one channel of three is dead."""
    x, y = data((4, 6, 2), samples=8, outputs=1)
    if data_format == "channels_first":
        x = x.transpose(0, 3, 1, 2)
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Conv2D(3, 1, data_format=data_format),
            layers.ReLU(name="relu"),
            layers.GlobalAveragePooling2D(data_format=data_format),
            layers.Dense(1),
        ]
    )
    model.layers[0].bias.assign([-100.0, 50.0, 50.0])
    model.compile("sgd", "mse", jit_compile=False)
    probe = ActivationStatistics(x)
    fit(model, (x, y), [probe])
    found = dict(zip(probe.names, probe.dead[0], strict=True))
    assert found["relu"] == pytest.approx(1 / 3)


def test_nonfinite_outputs_show_in_the_mean_and_are_not_counted():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    model.layers[0].kernel.assign(np.eye(2))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.array([[1.0, np.nan], [np.inf, 2.0], [3.0, 4.0]], "float32")
    probe = ActivationStatistics(x)
    model.fit(np.zeros((3, 2)), np.zeros((3, 2)), verbose=0, callbacks=[probe])
    assert np.isnan(probe.means[-1, 0])
    outputs = np.asarray(model(x))
    finite = outputs[np.isfinite(outputs)]
    assert probe.histograms[-1, 0].sum() == finite.size > 0
    ends = probe.histogram_edges[-1, 0][[0, -1]]
    np.testing.assert_allclose(ends, [finite.min(), finite.max()])


def test_a_constant_layer():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3, "relu")])
    model.layers[0].bias.assign([-99.0] * 3)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.ones((4, 2))
    probe = ActivationStatistics(x)
    model.fit(x, np.zeros((4, 3)), verbose=0, callbacks=[probe])
    assert probe.dead[-1, 0] == 1.0
    assert probe.stds[-1, 0] == 0.0
    assert probe.histograms[-1, 0].sum() == 12
    np.testing.assert_allclose(probe.histogram_edges[-1, 0][[0, -1]], [-0.5, 0.5])


def test_several_inputs_in_a_list_and_targets_given_apart():
    x, y = data()
    i, j = keras.Input(x.shape[1:]), keras.Input(x.shape[1:])
    model = keras.Model([i, j], layers.Dense(y.shape[1])(layers.Add()([i, j])))
    model.compile("sgd", "mse")
    probe = ActivationStatistics([x, x])
    model.fit([x, x], y, verbose=0, callbacks=[probe])
    np.testing.assert_allclose(probe.means[-1][0], 2 * x.mean(), rtol=1e-4)
    with pytest.raises(ValueError, match=r"data=\(x, y\).*every=.* of shape"):
        ActivationStatistics(x, y)
    with pytest.raises(ValueError, match="data must hold at least one row"):
        model.fit([x, x], y, verbose=0, callbacks=[ActivationStatistics([x[:0]] * 2)])
