"""LSUV: every layer has unit variance, measured a second way; the rest is unchanged."""

import keras
import numpy as np
import pytest

from keras_dnn.initializers import lsuv

layers = keras.layers


def batch(*shape, seed=0):
    return np.random.default_rng(seed).normal(1.5, 2.0, size=shape).astype("float32")


def pre_activations(model, names, x):
    """The deviation of each layer's sums, in a copy without activations."""
    found = {}
    for name in names:
        layer = model.get_layer(name)
        config = {**layer.get_config(), "activation": None}
        bare = type(layer).from_config(config)
        inputs = keras.Model(model.input, layer.input)(x, training=False)
        bare.build(inputs.shape)
        bare.set_weights(layer.get_weights())
        found[name] = float(np.std(bare(inputs), dtype="float64"))
    return found


def image_model():
    x = inputs = keras.Input((12, 12, 4))
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, seed=1)(x)
    x = layers.Conv2D(8, 3, groups=4, strides=2, activation="elu", name="grouped")(x)
    x = layers.DepthwiseConv2D(3, activation="tanh", padding="same", name="depth")(x)
    y = layers.Conv2DTranspose(8, 4, strides=2, activation="gelu", name="up")(x)
    y = layers.SeparableConv2D(8, 3, strides=2, activation="relu", name="sep")(y)
    x = layers.Add()([layers.GlobalMaxPooling2D()(x), layers.GlobalMaxPooling2D()(y)])
    return keras.Model(inputs, layers.Dense(5, activation="softmax", name="head")(x))


NAMES = ["conv", "grouped", "depth", "up", "sep", "head"]


def values(model):
    return {v.path: np.array(v) for v in model.variables}


@pytest.mark.parametrize("target", [1.0, 0.3])
def test_every_layer_reaches_the_target(target):
    model, x = image_model(), batch(64, 12, 12, 4)
    before = pre_activations(model, NAMES, x)
    result = lsuv(model, x, target, tolerance=1e-3, verbose=0)
    assert result.layers == NAMES
    after = pre_activations(model, NAMES, x)
    np.testing.assert_allclose(list(after.values()), target, rtol=1.1e-3)
    np.testing.assert_allclose(result.after, list(after.values()), rtol=1e-5)
    np.testing.assert_allclose(result.before, list(before.values()), rtol=1e-4)
    assert set(result.iterations) == {1}
    assert result.skipped == {}


def test_kernels_are_scaled_orthonormal_matrices():
    model = image_model()
    lsuv(model, batch(64, 12, 12, 4), seed=1, verbose=0)
    weights = {name: np.array(model.get_layer(name).weights[0]) for name in NAMES}
    up = weights["up"].transpose(0, 1, 3, 2)  # (..., out, in)
    matrices = [weights["conv"].reshape(-1, 8), up.reshape(-1, 8), weights["head"]]
    matrices += [
        weights["grouped"][..., i : i + 2].reshape(-1, 2) for i in (0, 2, 4, 6)
    ]
    matrices += [weights["depth"][:, :, i].reshape(-1, 1) for i in range(8)]
    for matrix in matrices:
        gram = matrix.T @ matrix
        expected = np.eye(len(gram)) * gram[0, 0]
        np.testing.assert_allclose(gram, expected, atol=1e-5 * gram[0, 0])
    norms = [np.linalg.norm(m[:, 0]) for m in matrices[-8:]]
    np.testing.assert_allclose(norms, norms[0], rtol=1e-5)


def test_only_kernels_change():
    model = image_model()
    model.compile("adam", "mse")
    before = values(model)
    lsuv(model, batch(64, 12, 12, 4), verbose=0)
    after = values(model)
    changed = {path for path in before if (before[path] != after[path]).any()}
    assert changed == {path for path in before if "kernel" in path}
    for name in NAMES:
        assert "call" not in vars(model.get_layer(name))
    assert model.get_layer("conv").activation is keras.activations.relu
    model.fit(batch(8, 12, 12, 4), np.zeros((8, 5)), epochs=1, verbose=0)


def test_a_dense_network_by_hand():
    x = batch(50, 7)
    model = keras.Sequential(
        [keras.Input((7,)), layers.Dense(9, "tanh"), layers.Dense(4, "relu")]
    )
    bias = np.linspace(-0.4, 0.4, 9)
    model.layers[0].bias.assign(bias)
    result = lsuv(model, x, tolerance=1e-6, max_iterations=50, verbose=0)
    first, second = (layer.kernel.numpy().astype("float64") for layer in model.layers)
    z = x @ first + bias
    assert z.std() == pytest.approx(1.0, rel=2e-6)
    assert (np.tanh(z) @ second).std() == pytest.approx(1.0, rel=2e-6)
    gram = first @ first.T
    np.testing.assert_allclose(gram, np.eye(7) * gram[0, 0], atol=1e-5)
    assert result.iterations[0] > 1
    assert result.iterations[1] == 1


@pytest.mark.parametrize("activation", ["tanh", "relu", "selu"])
def test_a_deep_network_keeps_its_signals(activation):
    hidden = [layers.Dense(32, activation) for _ in range(60)]
    model = keras.Sequential([keras.Input((32,)), *hidden])
    result = lsuv(model, batch(128, 32), verbose=0)
    assert len(result.layers) == 60
    np.testing.assert_allclose(result.after, 1.0, rtol=0.01)


def test_a_shared_layer_is_set_once_at_its_first_call():
    shared = layers.Dense(6, activation="relu", name="shared")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, shared(shared(shared(inputs))))
    x = batch(40, 6)
    result = lsuv(model, x, verbose=0)
    assert result.layers == ["shared"]
    assert (x @ shared.kernel.numpy()).std() == pytest.approx(1.0, rel=0.01)


def test_frozen_layers_and_layers_in_loops_are_skipped_with_the_reason():
    model = keras.Sequential(
        [
            keras.Input((5, 6)),
            layers.TimeDistributed(layers.Dense(4, name="inner"), name="loop"),
            layers.Dense(4, name="frozen"),
            layers.LSTM(4),
            layers.Dense(3, name="head"),
        ]
    )
    model.get_layer("frozen").trainable = False
    before = values(model)
    result = lsuv(model, batch(30, 5, 6), verbose=0)
    assert [path.rpartition("/")[2] for path in result.layers] == ["head"]
    assert sorted(why.partition(" /")[0] for why in result.skipped.values()) == [
        "called in the loop of " + model.get_layer("loop").path,
        "frozen",
    ]
    after = values(model)
    changed = [path for path in before if (before[path] != after[path]).any()]
    assert changed == [model.get_layer("head").kernel.path]
    assert "frozen" in str(result)


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, activation="gelu")
        self.spare = layers.Dense(6)

    def build(self, shape):
        self.dense.build(shape)
        self.spare.build(shape)

    def call(self, x):
        return x + self.dense(x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = layers.Dense(3)

    def call(self, inputs):
        return self.head(self.block(inputs["x"]))


def test_nested_and_subclassed_models_and_attention():
    x = inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = keras.Sequential([layers.Dense(6, "relu"), layers.Dense(6)], name="nested")(x)
    nested = keras.Model(inputs, x)
    result = lsuv(nested, batch(64, 5, 8), verbose=0)
    assert len(result.layers) == 6
    np.testing.assert_allclose(result.after, 1.0, rtol=0.01)

    model, x = Subclassed(), {"x": batch(64, 6)}
    model(x)
    spare = np.array(model.block.spare.kernel)
    result = lsuv(model, x, verbose=0)
    assert len(result.layers) == 2
    assert list(result.skipped.values()) == ["not called"]
    np.testing.assert_array_equal(model.block.spare.kernel, spare)
    z = x["x"] @ model.block.dense.kernel.numpy()
    assert z.std() == pytest.approx(1.0, rel=0.01)


class Spare(keras.Model):
    def __init__(self):
        super().__init__()
        self.head, self.spare = layers.Dense(3), layers.Dense(3)

    def build(self, shape):
        self.head.build(shape)

    def call(self, x):
        return self.head(x)


def test_a_quantised_model_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    for layer in model.layers:
        layer.quantize("float8")
    with pytest.raises(ValueError, match=r"not frozen or quantised.*to float8"):
        lsuv(model, np.ones((8, 4), "float32"), verbose=0)


def test_adapted_and_unbuilt_layers_are_skipped_with_the_reason():
    model, x = Spare(), batch(64, 6)
    model(x)
    model.head.enable_lora(2)
    with pytest.raises(ValueError, match=r"its kernel is not a variable.*not built"):
        lsuv(model, x, verbose=0)


def test_layers_of_the_same_name_are_distinguished():
    hidden = [layers.Dense(6, name="same") for _ in range(2)]
    inputs = keras.Input((6,))
    first = keras.Sequential([keras.Input((6,)), hidden[0]], name="first")
    model = keras.Model(inputs, hidden[1](first(inputs)))
    hidden[0]._path = hidden[1]._path = "same"
    result = lsuv(model, batch(30, 6), verbose=0)
    assert result.layers == ["same", "same"]
    np.testing.assert_allclose(result.after, 1.0, rtol=0.01)


def test_several_inputs_and_half_precision():
    a, b = keras.Input((4,)), keras.Input((6,))
    dense = [layers.Dense(16, "relu", dtype="mixed_float16") for _ in range(2)]
    x = layers.Concatenate()([dense[0](a), dense[1](b)])
    model = keras.Model([a, b], layers.Dense(2, dtype="mixed_float16")(x))
    result = lsuv(model, [batch(64, 4), 100 * batch(64, 6)], verbose=0)
    np.testing.assert_allclose(result.after, 1.0, rtol=0.01)
    assert dense[0].kernel.dtype == "float32"


def test_the_seed_determines_the_kernels():
    def kernels(seed):
        keras.utils.set_random_seed(5)
        hidden = [layers.Dense(6), layers.Dense(6)]
        model = keras.Sequential([keras.Input((6,)), *hidden])
        lsuv(model, batch(40, 6), seed=seed, verbose=0)
        return np.array([layer.kernel for layer in hidden])

    one = kernels(1)
    np.testing.assert_array_equal(one, kernels(1))
    np.testing.assert_array_equal(kernels(None), kernels(None))
    assert (one != kernels(2)).all()
    assert (one[0] / one[0].std() != one[1] / one[1].std()).all()


class Failing(layers.Layer):
    """Fails at its second call after it is armed: when the layers below are set."""

    error = None
    calls = 0

    def call(self, x):
        self.calls += 1
        if self.error and self.calls > 1:
            raise self.error
        return x


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_an_exception_leaves_the_model_unchanged(error):
    failing = Failing()
    hidden = layers.Dense(6, "relu")
    model = keras.Sequential(
        [keras.Input((6,)), hidden, layers.Dropout(0.1), failing, layers.Dense(3)]
    )
    before = values(model)
    failing.error, failing.calls = error, 0
    with pytest.raises(type(error)):
        lsuv(model, batch(30, 6), verbose=0)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])
    assert failing.calls == 2
    assert "call" not in vars(hidden)
    assert hidden.activation is keras.activations.relu


@pytest.mark.parametrize(
    ("x", "bias"), [(np.zeros((8, 4)), 0.0), (np.full((8, 4), np.nan), 0.0)]
)
def test_a_batch_without_variance_is_refused(x, bias):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="first")])
    before = values(model)
    with pytest.raises(ValueError, match=r"batch must .*first with (0.0|nan) after 0"):
        lsuv(model, x.astype("float32"), verbose=0)
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_a_bias_that_varies_more_than_the_target_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="first")])
    model.layers[0].bias.assign([-5.0, 5.0])
    kernel = np.array(model.layers[0].kernel)
    with pytest.raises(ValueError, match=r"first with [45][.]\d* after 4 iterations"):
        lsuv(model, batch(30, 4), max_iterations=4, verbose=0)
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)


def test_bad_arguments_are_named_and_shown():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    for name, value in {
        "target_std": 0.0,
        "tolerance": -1.0,
        "max_iterations": 0,
        "seed": "a",
    }.items():
        with pytest.raises(ValueError, match=f"{name} must.*{value!r}"):
            lsuv(model, batch(8, 4), **{name: value})
    for wrong in (keras.Sequential([layers.Dense(2)]), layers.Dense(2)):
        with pytest.raises(ValueError, match="model must be a built Keras model"):
            lsuv(wrong, batch(8, 4))
    model.trainable = False
    with pytest.raises(ValueError, match=r"not frozen.*'frozen'"):
        lsuv(model, batch(8, 4))


def test_the_result_as_text_and_as_a_dict():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="only")])
    result = lsuv(model, batch(8, 4), verbose=0)
    assert str(result).splitlines()[0].split() == [
        "layer", "std", "before", "after", "iterations",
    ]  # fmt: skip
    assert str(result).splitlines()[1].split()[0] == result.layers[0]
    assert result.to_dict()["iterations"] == [1]
    assert result.to_dict()["after"] == pytest.approx([1.0], rel=0.01)


def test_progress_is_shown_on_request(capsys):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Dense(2)])
    lsuv(model, batch(8, 4), verbose=1)
    assert "2/2" in capsys.readouterr().out
    lsuv(model, batch(8, 4))
    assert capsys.readouterr().out == ""


class _Scale(keras.layers.EinsumDense):
    """A layer of one's own that has no activation at all."""

    def __init__(self):
        super().__init__("ab,bc->ac", 5)
        del self.activation

    def call(self, x):
        return x @ self.kernel


def test_layers_without_an_activation():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, "relu"), _Scale()]
    )
    model.add(keras.layers.Dense(3, "softmax"))
    # The usual way to get logits from a softmax head.
    model.layers[-1].activation = None
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    result = lsuv(model, x, seed=1)
    np.testing.assert_allclose(result.after, 1.0, rtol=0.01)
    assert np.std(model(x).numpy()) == pytest.approx(1.0, rel=0.01)
    assert model.layers[-1].activation is None


def test_refuses_a_batch_without_rows():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="batch"):
        lsuv(model, np.ones((0, 4)))
