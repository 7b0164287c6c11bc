"""The two networks: every default, and how they transform a signal."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_dnn.diagnostics import preflight
from keras_dnn.recipes import deep_network, self_normalizing_network, training

generator = np.random.default_rng(3)
x = generator.normal([5, -200, 0.01], [2, 50, 0.001], size=(400, 3))
both = pytest.mark.parametrize("make", [deep_network, self_normalizing_network])


def hidden(model, kind=keras.layers.Dense):
    return [
        layer
        for layer in model.layers
        if type(layer) is kind and layer.name not in ("classes", "output")
    ]


def standardised(model, inputs):
    return np.asarray(model.get_layer("standardise")(inputs))


# The table -----------------------------------------------------------------------


def test_deep_network_follows_the_table():
    model = deep_network([7, 6, 5], n_classes=4, data=x, l2=0.01, dropout=0.3)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Normalization",
        *["Dense", "BatchNormalization", "Activation"] * 3,
        "Dropout",
        "Dense",
    ]
    assert [layer.units for layer in hidden(model)] == [7, 6, 5]
    for layer in hidden(model):
        assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)
        assert layer.activation is keras.activations.linear
        assert not layer.use_bias
        assert float(layer.kernel_regularizer.l2) == pytest.approx(0.01)
    for layer in hidden(model, keras.layers.Activation):
        assert layer.activation is keras.activations.elu
    assert model.get_layer("dropout").rate == 0.3
    assert model.layers[-1].activation is keras.activations.softmax
    assert model.layers[-1].kernel_regularizer is None
    assert not model.compiled


def test_self_normalizing_network_follows_the_table():
    model = self_normalizing_network([7, 6], n_classes=4, data=x, alpha_dropout=0.1)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Normalization",
        *["Dense", "AlphaDropout"] * 2,
        "Dense",
    ]
    for layer in hidden(model):
        assert isinstance(layer.kernel_initializer, keras.initializers.LecunNormal)
        assert layer.activation is keras.activations.selu
        assert layer.use_bias
    assert {layer.rate for layer in hidden(model, keras.layers.AlphaDropout)} == {0.1}


@pytest.mark.parametrize(
    ("depth", "option", "norms"),
    [(1, None, 0), (2, None, 0), (3, None, 3), (2, True, 2), (5, False, 0)],
)
def test_batch_norm_is_used_if_deep_or_requested(depth, option, norms):
    model = deep_network([4] * depth, data=x, batch_norm=option)
    assert len(hidden(model, keras.layers.BatchNormalization)) == norms
    assert all(layer.use_bias is not bool(norms) for layer in hidden(model))


@pytest.mark.parametrize(
    ("rows", "momentum"),
    [(9_999, 0.9), (10_000, 0.99), (1_000_000, 0.99), (1_000_001, 0.999)],
)
def test_momentum_of_batch_norm_depends_on_the_amount_of_data(rows, momentum):
    data = np.broadcast_to(np.float32([[1.0], [2.0]])[:1], (rows, 1))
    model = deep_network([2] * 3, data=data)
    assert {n.momentum for n in hidden(model, keras.layers.BatchNormalization)} == {
        momentum
    }


@pytest.mark.parametrize(
    ("activation", "initializer"),
    [("relu", "HeNormal"), ("tanh", "GlorotNormal"), ("gelu", "HeNormal")],
)
def test_initial_weights_suit_the_activation(activation, initializer):
    model = deep_network([4], data=x, activation=activation)
    assert type(hidden(model)[0].kernel_initializer).__name__ == initializer


@both
def test_layers_have_different_weights(make):
    model = make([6, 6, 6], input_shape=(6,))
    first, second, third = (layer.get_weights()[0] for layer in hidden(model))
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)


# Inputs --------------------------------------------------------------------------


@both
def test_columns_are_standardised_separately(make):
    out = standardised(make([4], data=x), x)
    expected = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_a_constant_column_becomes_zero():
    data = x.copy()
    data[:, 1] = 0.1
    out = standardised(deep_network([4], data=data), data)
    assert np.abs(out[:, 1]).max() < 1e-6
    other = data + np.array([0, 3.0, 0])
    np.testing.assert_allclose(
        standardised(deep_network([4], data=data), other)[:, 1], 3.0, rtol=1e-6
    )


def test_channels_are_standardised_separately_and_pixels_together():
    images = generator.integers(0, 256, (50, 5, 4, 3)).astype("uint8")
    images[..., 1] //= 8
    model = deep_network([4], n_classes=2, data=images)
    flat = images.reshape(-1, 3).astype("float64")
    expected = (images - flat.mean(axis=0)) / flat.std(axis=0)
    np.testing.assert_allclose(standardised(model, images), expected, atol=1e-5)
    assert model.predict(images, verbose=0).shape == (50, 2)
    grey = images[..., 0]
    model = deep_network([4], n_classes=2, data=grey)
    expected = (grey - grey.mean()) / grey.std()
    np.testing.assert_allclose(standardised(model, grey), expected, atol=1e-5)


def test_a_shape_replaces_data():
    model = deep_network([4], n_classes=2, input_shape=(5, 5, 1))
    assert [type(layer).__name__ for layer in model.layers[:2]] == ["Flatten", "Dense"]
    assert model.input_shape == (None, 5, 5, 1)


# Training and signals ------------------------------------------------------------


def test_the_signal_keeps_its_size_through_fifty_layers():
    data = generator.normal(3, 2, (1000, 80))
    model = self_normalizing_network([80] * 50, data=data)
    signal = keras.Model(model.inputs, model.get_layer("hidden_50").output)
    out = signal.predict(data, verbose=0)
    assert abs(out.mean()) < 0.2
    assert 0.7 < out.std() < 1.3


@both
@pytest.mark.parametrize("depth", [1, 4, 12])
def test_preflight_finds_nothing(make, depth):
    data = generator.normal(5, 3, (300, 20))
    labels = (data[:, 0] > 5).astype(int) + (data[:, 1] > 5)
    model = make([32] * depth, n_classes=3, data=data)
    model.compile(training(model).optimizer, "sparse_categorical_crossentropy")
    report = preflight(model, data, labels, verbose=0)
    assert not report.findings, str(report)


def test_preflight_finds_nothing_in_a_regression():
    data = generator.normal(5, 3, (300, 20))
    model = deep_network([32] * 4, data=data)
    model.compile(training(model).optimizer, "mse")
    assert not preflight(model, data, (data[:, 0] - 5) / 3, verbose=0).findings


@both
def test_learns(make):
    data = generator.normal(5, 3, (600, 4))
    labels = (data[:, 0] * data[:, 1] > 25).astype(int)
    model = make([32] * 3, n_classes=2, data=data)
    t = training(model, max_learning_rate=0.03, monitor=None)
    model.compile(t.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data, labels, epochs=12, callbacks=t.callbacks, verbose=0)
    assert model.evaluate(data, labels, verbose=0)[1] > 0.9


@both
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_inputs_and_outputs_are_precise_in_half_precision(make, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = make([8] * 3, n_classes=3, data=1e6 * x)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("standardise").compute_dtype == "float32"
    assert hidden(model)[0].compute_dtype == policy.removeprefix("mixed_")
    out = model.predict(1e6 * x, verbose=0)
    assert out.dtype == "float32"
    np.testing.assert_allclose(out.sum(axis=1), 1.0, rtol=1e-6)


def test_they_load_in_a_process_without_this_package(tmp_path):
    expected = {}
    for make in (deep_network, self_normalizing_network):
        model = make([6] * 3, n_classes=3, data=x)
        expected[make.__name__] = model.predict(x, verbose=0)
        model.save(tmp_path / f"{make.__name__}.keras")
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, keras, numpy as np\n"
        "for name in sys.argv[1:]:\n"
        "    model = keras.models.load_model(f'{name}.keras')\n"
        "    np.save(f'{name}.npy', model.predict(np.load('x.npy'), verbose=0))\n"
        "assert 'keras_dnn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, *expected], cwd=tmp_path, check=True)
    for name, outputs in expected.items():
        found = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(found, outputs, rtol=1e-6)


# Arguments -----------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("units", "options", "word"),
    [
        ([], {"data": x}, "units must have a number for each hidden layer"),
        ([0], {"data": x}, "units must be a positive integer"),
        (5, {"data": x}, "units must be a list"),
        ([4], {}, "Either data or input_shape must be given"),
        ([4], {"data": x, "input_shape": (3,)}, "not both"),
        ([4], {"input_shape": (None,)}, "input_shape must be a positive integer"),
        ([4], {"data": x[0]}, "data must be an array of numbers"),
        ([4], {"data": [["a"]]}, "data must be an array of numbers"),
        ([4], {"data": x * np.nan}, "data must be finite"),
        ([4], {"data": x, "n_classes": 1}, "n_classes must be .* at least 2"),
    ],
)
def test_bad_arguments_are_refused(make, units, options, word):
    with pytest.raises(ValueError, match=word):
        make(units, **options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"activation": "selu"}, "see self_normalizing_network"),
        ({"activation": "sine"}, "activation must be one of"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"l2": -1}, "l2 must be"),
        ({"batch_norm": "yes"}, "batch_norm must be True or False"),
    ],
)
def test_bad_options_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        deep_network([4], data=x, **options)
    with pytest.raises(ValueError, match="alpha_dropout must be"):
        self_normalizing_network([4], data=x, alpha_dropout=1.0)
