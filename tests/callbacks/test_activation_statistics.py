"""What `ActivationStatistics` tells, against each layer's outputs taken another way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.callbacks import ActivationStatistics, GradientNorms, MaxNorm
from keras_dnn.layers import MCDropout
from tests.callbacks.harness import leftovers

layers = keras.layers
SELU = 1.0507009873554805, 1.6732632423543772


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


def data(shape=(6,), samples=16, outputs=2):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(samples, *shape)).astype("float32")
    return x, rng.normal(size=(samples, outputs)).astype("float32")


def fit(model, x, y, probes, **options):
    return model.fit(
        x, y, batch_size=4, shuffle=False, verbose=0, callbacks=probes, **options
    )


def look_at(outputs, slope=None, channels_first=False):
    """Mean, deviation, dead and saturated share, in NumPy float64."""
    y = np.asarray(outputs).astype("float64")
    if channels_first:
        y = np.moveaxis(y, 1, -1)
    y = y.reshape(-1, y.shape[-1])
    saturated = np.nan
    if slope is not None:
        saturated = ((slope(y) < 0.05).mean(axis=0) >= 0.9).mean()
    return y.mean(), y.std(), (y == 0).all(axis=0).mean(), saturated


def assert_tells(probe, look, outputs, rtol=1e-5, **options):
    """Of every layer, at one of the looks."""
    assert probe.means.shape[1] == len(outputs), probe.names
    for i, output in enumerate(outputs):
        how = options.get("slopes", {}).get(i)
        mean, std, dead, saturated = look_at(output, how)
        np.testing.assert_allclose(probe.means[look, i], mean, rtol=rtol, atol=1e-7)
        np.testing.assert_allclose(probe.stds[look, i], std, rtol=rtol, atol=1e-7)
        np.testing.assert_allclose(probe.dead[look, i], dead, rtol=1e-12)
        np.testing.assert_allclose(probe.saturated[look, i], saturated, rtol=1e-12)
        values = np.asarray(output).reshape(-1).astype("float64")
        edges = probe.histogram_edges[look, i]
        if values.min() < values.max():
            ends = values.min(), values.max()
            np.testing.assert_allclose(
                edges, np.linspace(*ends, 65), rtol=1e-5, atol=1e-6
            )
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        found = probe.histograms[look, i]
        assert found.sum() == values.size
        # Rounding may move what lies on an edge to the bin beside it.
        assert np.abs(np.cumsum(found) - np.cumsum(counts)).max() <= 2


# Every kind of model


def taken(model, x):
    """The outputs of all layers of a functional model without nested ones."""
    kept = [
        layer
        for layer in model.layers
        if not isinstance(layer, layers.InputLayer | layers.Dropout | layers.Flatten)
    ]
    return keras.Model(model.inputs[0], [layer.output for layer in kept])(x)


def convolutional():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="tanh"),
            layers.Dense(2),
        ]
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}],
)
def test_every_look_is_that_of_the_outputs_at_its_time(options):
    x, y = data((6, 6, 2))
    model = convolutional()
    model.compile("adam", "mse", **options)
    probe = ActivationStatistics(x[:8])
    outputs = [taken(model, x[:8])]

    class Take(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            outputs.append(taken(model, x[:8]))

    fit(model, x, y, [probe, Take()], epochs=2)
    assert probe.steps.tolist() == [0, 4, 8]
    for look in range(3):
        assert_tells(probe, look, outputs[look], slopes={3: lambda y: 1 - y**2})
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
    assert_tells(probe, -1, outputs, rtol=1e-10, slopes={1: lambda y: 4 * y * (1 - y)})


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
    looked = zip(probe.means[-1], probe.stds[-1], strict=True)
    found = dict(zip(probe.names, looked, strict=True))
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
        np.testing.assert_allclose(found[path], look_at(output)[:2], rtol=1e-5)
    assert "attention" in found
    np.testing.assert_allclose(found["attention"], look_at(result)[:2], rtol=1e-5)
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
def test_layers_with_loops_are_seen_from_outside(make):
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
    np.testing.assert_allclose(found, look_at(layer(x))[:2], rtol=1e-5)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(5, activation="relu")
        self.last = layers.Dense(2)

    def call(self, x):
        return self.last(self.first(x))


@pytest.mark.parametrize("made", ["subclassed", "deferred"])
def test_models_that_their_first_batch_builds(made):
    x, y = data()
    keras.utils.set_random_seed(1)
    model = Subclassed()
    if made == "deferred":
        model = keras.Sequential([layers.Dense(5, "relu"), layers.Dense(2)])
    model.compile("sgd", "mse")
    probe = ActivationStatistics(x)
    fit(model, x, y, [probe])
    assert probe.steps.tolist() == [4]
    first, last = model.layers
    hidden = first(x)
    assert_tells(probe, -1, [hidden, last(hidden)])


# Dead and saturated


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
    # So many that a threshold off by 1 % moves some of them across it.
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
    _, _, dead, saturated = look_at(outputs, slope)
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
    expected = look_at(layer(x), slope)
    assert probe.saturated[-1, 0] == pytest.approx(expected[3], nan_ok=True)
    assert probe.dead[-1, 0] == pytest.approx(expected[2])


def test_what_is_not_finite_shows_and_is_not_counted():
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


# When it looks


@pytest.mark.parametrize(
    ("every", "block", "expected"),
    [
        ("epoch", 1, [0, 5, 10]),
        (1, 1, list(range(11))),
        (2, 1, [0, 2, 4, 6, 8, 10]),
        (3, 1, [0, 3, 6, 9]),
        (4, 3, [0, 5, 8]),  # blocks end at 3, 5, 8 and 10
        (100, 1, [0]),
    ],
)
def test_it_looks_when_it_is_told_to(every, block, expected):
    x, y = data(samples=18)
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.compile("sgd", "mse", steps_per_execution=block)
    probe = ActivationStatistics(x, every=every)
    fit(model, x, y, [probe], epochs=2)
    assert probe.steps.tolist() == expected
    assert np.isfinite(probe.means).all()


def test_fit_again_adds_and_another_model_begins_anew():
    x, y = data()
    probe = ActivationStatistics(x)
    models = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
        model.compile("sgd", "mse")
        models.append(model)
    fit(models[0], x, y, [probe])
    fit(models[0], x, y, [probe])
    assert probe.steps.tolist() == [0, 4, 8]
    fit(models[1], x, y, [probe])
    assert probe.steps.tolist() == [0, 4]


@pytest.mark.parametrize("form", ["array", "pair", "dataset", "sequence"])
def test_every_form_of_data(form):
    x, y = data()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return x[8 * index : 8 * index + 8], y[8 * index : 8 * index + 8]

    given = {
        "array": x[:8],
        "pair": (x[:8], y[:8]),
        "dataset": tf.data.Dataset.from_tensor_slices((x, y)).batch(8),
        "sequence": Batches(),
    }[form]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    probe = ActivationStatistics(given)
    fit(model, x, y, [probe])
    assert_tells(probe, -1, [model(x[:8])])


# Nothing changes


def trained(probes, **options):
    x, y = data((6, 6, 2))
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.GaussianNoise(0.1),
            layers.Conv2D(3, 3, activation="relu"),
            layers.BatchNormalization(),
            MCDropout(0.3),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(2, activity_regularizer="l2"),
        ]
    )
    model.compile("adam", "mse", **options)
    history = fit(model, x, y, probes(x), epochs=2, validation_data=(x, y)).history
    state = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    return model, history, state, keras.ops.convert_to_numpy(model(x, training=True))


@pytest.mark.parametrize("options", [{}, slow({"jit_compile": True})])
def test_training_is_the_same_to_the_last_bit(options):
    _, history, state, after = trained(lambda x: [], **options)
    model, with_probe, other, later = trained(
        lambda x: [ActivationStatistics(x, every=1)], **options
    )
    assert history == with_probe
    for one, two in zip(state, other, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(after, later)
    assert leftovers(model) == []
    assert not any("call" in vars(layer) for layer in model.layers)


@pytest.mark.parametrize("wrong", ["shape", "exception"])
def test_an_error_leaves_nothing_behind(wrong):
    x, y = data()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    model.compile("sgd", "mse")

    class Raises(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("planned")

    probe = ActivationStatistics(x[:, :3] if wrong == "shape" else x)
    with pytest.raises((ValueError, RuntimeError)):
        fit(model, x, y, [probe, Raises()])
    assert not any("call" in vars(layer) for layer in model.layers)
    fit(model, x, y, [ActivationStatistics(x)])


def test_one_trace_serves_all_looks_of_a_fit():
    x, y = data()
    traces = []

    class Counts(layers.Layer):
        def call(self, inputs, training=None):
            if training is False:
                traces.append(1)
            return inputs + 0.0

    model = keras.Sequential([keras.Input((6,)), Counts(), layers.Dense(2)])
    model.compile("sgd", "mse")
    traces.clear()
    fit(model, x, y, [ActivationStatistics(x, every=1)], epochs=3)
    assert len(traces) == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    x, y = data()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu")])
    keras.config.set_dtype_policy(before)
    model.compile("adam", "mse")
    probe = ActivationStatistics(x)
    fit(model, x, np.tile(y, 3)[:, :5], [probe])
    mean, std, dead, _ = look_at(keras.ops.cast(model(x), "float64"))
    # What is compiled may round each output once more or once less.
    np.testing.assert_allclose(probe.means[-1, 0], mean, rtol=1e-2)
    np.testing.assert_allclose(probe.stds[-1, 0], std, rtol=1e-2)
    assert probe.dead[-1, 0] == dead
    assert probe.histograms[-1, 0].sum() == 16 * 5


def test_two_replicas_and_other_probes(two_replicas):
    x, y = data()

    def run():
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, "relu"),
                layers.BatchNormalization(synchronized=True),
                layers.Dense(2),
            ]
        )
        model.compile("sgd", "mse")
        probe = ActivationStatistics(x)
        fit(model, x, y, [GradientNorms(), probe, MaxNorm(1.0)], epochs=2)
        return probe

    alone = run()
    with two_replicas.scope():
        together = run()
    np.testing.assert_array_equal(together.steps, alone.steps)
    np.testing.assert_allclose(together.stds, alone.stds, rtol=1e-4)
    np.testing.assert_allclose(together.means, alone.means, rtol=1e-3, atol=1e-5)


# Arguments and pictures


@pytest.mark.parametrize("every", [0, -1, 1.5, "step", None])
def test_every_must_be_epoch_or_a_count(every):
    with pytest.raises(ValueError, match=r"every must be.*Received: every="):
        ActivationStatistics(np.ones((2, 2)), every=every)


def test_the_picture_shows_the_record():
    pytest.importorskip("matplotlib")
    x, y = data((6, 6, 2))
    model = convolutional()
    model.compile("adam", "mse")
    probe = ActivationStatistics(x)
    with pytest.raises(ValueError, match="nothing to plot"):
        probe.plot()
    fit(model, x, y, [probe], epochs=2)
    figure = probe.plot()
    spread, units, *histograms = figure.axes
    drawn = spread.containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, probe.means[-1])
    heights = [bar.get_height() for bar in units.containers[0]]
    np.testing.assert_allclose(heights, 100 * probe.dead[-1])
    shown = [ax for ax in histograms if ax.get_visible() and ax.images]
    assert len(shown) == len(probe.names)
    image = shown[0].images[0].get_array()
    np.testing.assert_allclose((image**2).sum(axis=0), 1.0)


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
    fit(model, x, y, [probe])
    found = dict(zip(probe.names, probe.dead[0], strict=True))
    assert found["relu"] == pytest.approx(1 / 3)
