"""Autoencoders: what they learn, their noise, their mirrored decoders."""

import keras
import numpy as np
import pytest

from keras_dnn.models import reuse_layers
from keras_dnn.optimizers import Nesterov
from keras_dnn.pretraining import autoencoder, masking
from keras_dnn.pretraining._random_layers import Noise
from tests.pretraining.pretraining_cases import (
    dense,
    identity,
    normal,
    on_replicas,
)

layers = keras.layers


@pytest.mark.usefixtures("in_float64")
def test_a_linear_autoencoder_finds_the_principal_subspace():
    """Baldi and Hornik, 1989: its only minima are those of the leading directions."""
    rows, rank = 64, 2
    x = normal(rows, 5, dtype="float64") * [3.0, 2.0, 1.0, 0.7, 0.3]
    x -= x.mean(axis=0)
    _, singular, directions = np.linalg.svd(x, full_matrices=False)
    encoder = keras.Sequential(
        [keras.Input((5,)), layers.Dense(rank, use_bias=False, name="code")]
    )
    model = autoencoder(encoder)
    model.compile(Nesterov(0.05, momentum=0.9), "mse")

    # Full batches, so each step is gradient descent.
    model.fit(np.tile(x, (1000, 1)), batch_size=rows, shuffle=False, verbose=0)

    loss = model.evaluate(x, batch_size=rows, verbose=0)
    left_out = np.sum(singular[rank:] ** 2) / x.size
    assert loss == pytest.approx(left_out, rel=1e-6)
    leading = directions[:rank].T @ directions[:rank]
    np.testing.assert_allclose(model.predict(x, verbose=0), x @ leading, atol=2e-3)
    basis, _ = np.linalg.qr(encoder.get_layer("code").kernel.numpy())
    assert abs(np.linalg.det(directions[:rank] @ basis)) > 1e-6


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("with_targets", [False, True])
def test_a_step_minimises_the_squared_error_against_the_inputs(with_targets):
    x = normal(7, 4, dtype="float64")
    encoder = keras.Sequential([keras.Input((4,)), layers.Dense(2, use_bias=False)])
    model = autoencoder(encoder)
    w, v = (kernel.copy() for kernel in model.get_weights())
    error = 2 * (x @ w @ v - x) / x.size
    expected = [w - 0.1 * x.T @ error @ v.T, v - 0.1 * (x @ w).T @ error]
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])

    logs = model.fit(x, x if with_targets else None, verbose=0).history

    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-12)
    np.testing.assert_allclose(logs["loss"], [np.mean((x @ w @ v - x) ** 2)])
    np.testing.assert_allclose(logs["mae"], [np.mean(np.abs(x @ w @ v - x))])


def test_the_trained_encoder_can_be_reused_with_its_weights():
    encoder, x = dense(), normal(16, 6)
    before = encoder.get_weights()
    model = autoencoder(encoder, noise=0.1)
    model.compile("adam", "mse")
    model.fit(x, verbose=0)

    classifier = reuse_layers(encoder, "dense_3", layers.Dense(2, name="head"))

    trained = encoder.get_weights()
    assert all((a != b).any() for a, b in zip(before, trained, strict=True))
    for a, b in zip(trained, classifier.get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)
    lower = keras.Model(classifier.inputs[0], classifier.layers[-2].output)
    np.testing.assert_array_equal(lower(x), encoder(x))


def test_noise_is_normal_with_the_given_deviation_in_training_only():
    x = normal(100, 100)
    model = autoencoder(identity((100,)), identity((100,)), noise=0.3, seed=1)
    drawn = [model(x, training=True) - x for _ in range(40)]
    assert np.mean(drawn) == pytest.approx(0, abs=4 * 0.3 / np.sqrt(400_000))
    assert np.std(drawn) == pytest.approx(0.3, rel=0.005)
    assert np.mean(np.abs(drawn) < 0.3) == pytest.approx(0.6827, rel=0.005)
    assert abs(np.corrcoef(np.ravel(drawn[0]), np.ravel(drawn[1]))[0, 1]) < 0.05
    np.testing.assert_array_equal(model(x), x)
    again = autoencoder(identity((100,)), identity((100,)), noise=0.3, seed=1)
    np.testing.assert_array_equal(again(x, training=True) - x, drawn[0])


def test_noise_differs_between_replicas_and_steps(two_replicas):
    with two_replicas.scope():
        noise = Noise(1.0, seed=1)
    (a, b), (c, d) = on_replicas(two_replicas, noise, np.zeros((50, 40), "float32"))
    for one, other in ((a, b), (c, d), (a, c), (b, d), (a, d), (b, c)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_a_layer_may_add_the_noise():
    model = autoencoder(identity((50,)), identity((50,)), noise=layers.Dropout(0.5))
    values = np.unique(model(np.ones((20, 50)), training=True))
    np.testing.assert_array_equal(values, [0, 2])


CONV = {"activation": "relu"}
MIRRORED = {
    "dense": (
        lambda: [keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(2)],
        "Dense Activation Dense Activation",
    ),
    "separate activation, norm and dropout": (
        lambda: [
            keras.Input((6,)),
            layers.Dense(4),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.5),
            layers.Dense(2),
        ],
        "Dense LeakyReLU Dense Activation",
    ),
    "strided": (
        lambda: [
            keras.Input((9, 11, 2)),
            layers.Conv2D(3, 3, 2, "same", **CONV),
            layers.Conv2D(4, 2, 2, **CONV),
        ],
        (
            "Conv2DTranspose ZeroPadding2D Activation Conv2DTranspose Cropping2D "
            "Activation"
        ),
    ),
    "pooled": (
        lambda: [
            keras.Input((13, 1)),
            layers.Conv1D(3, 3, **CONV),
            layers.MaxPooling1D(2),
            layers.Conv1D(2, 2),
            layers.AveragePooling1D(3, padding="same"),
        ],
        (
            "UpSampling1D Cropping1D Conv1DTranspose Activation "
            "UpSampling1D ZeroPadding1D Conv1DTranspose Activation"
        ),
    ),
    "three-dimensional": (
        lambda: [
            keras.Input((5, 4, 3, 1)),
            layers.Conv3D(2, 3, 2, "same"),
            layers.AveragePooling3D((1, 2, 2)),
            layers.Flatten(),
            layers.Dense(2, "elu"),
        ],
        "Dense Reshape UpSampling3D Conv3DTranspose Cropping3D Activation",
    ),
}


@pytest.mark.parametrize("case", MIRRORED)
def test_the_decoder_mirrors_the_encoder(case):
    build, kinds = MIRRORED[case]
    encoder = keras.Sequential(build(), name="encoder")
    functional = keras.Model(encoder.inputs, encoder.outputs, name="encoder")
    for given in (encoder, functional):
        model = autoencoder(given, output_activation="sigmoid")
        decoder = model.get_layer("encoder_mirror")
        assert model.output_shape == encoder.input_shape
        assert [type(layer).__name__ for layer in decoder.layers] == kinds.split()
        assert decoder.layers[-1].activation is keras.activations.sigmoid


def test_activations_are_mirrored_at_their_position():
    decoder = autoencoder(
        keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, "elu"),
                layers.Dense(4),
                layers.LeakyReLU(0.3),
                layers.Dense(3, "tanh", use_bias=False),
            ]
        )
    ).layers[-1]
    first, leaky, second, elu, third, last = decoder.layers
    assert [first.units, second.units, third.units] == [4, 5, 6]
    assert leaky.negative_slope == pytest.approx(0.3)
    assert elu.activation is keras.activations.elu
    assert last.activation is keras.activations.linear
    assert [layer.use_bias for layer in (first, second, third)] == [False, True, True]


def test_losses_are_of_full_precision():
    hidden = layers.Dense(4, "relu", dtype="mixed_float16")
    encoder = keras.Sequential([keras.Input((6,)), hidden])
    assert encoder.outputs[0].dtype == "float16"
    assert autoencoder(encoder).output.dtype == "float32"


def sequential(*stack, shape=(8, 8, 1)):
    return keras.Sequential([keras.Input(shape), *stack])


def words():
    return keras.Sequential(
        [keras.Input((5,), dtype="int32"), layers.Embedding(7, 2), layers.Flatten()]
    )


def branched():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(4)(x) + x)


def two_inputs():
    x = [keras.Input((4,)), keras.Input((4,))]
    return keras.Model(x, layers.Add()(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: autoencoder(keras.Sequential([layers.Dense(3)])), "keras.Input"),
        (lambda: autoencoder(layers.Dense(3)), "encoder must be a functional"),
        (lambda: autoencoder(two_inputs()), "one input and one output.*2 and 1"),
        (lambda: autoencoder(words()), "floating-point.*an Embedding.*int32"),
        (lambda: masking(words()), "floating-point.*which masking can.*int32"),
        (lambda: autoencoder(branched()), "chain of layers.*decoder="),
        (
            lambda: autoencoder(sequential(layers.Conv2D(3, 3, dilation_rate=2))),
            "dilated.*decoder=",
        ),
        (
            lambda: autoencoder(sequential(layers.MaxPooling2D(3, 2))),
            "overlap.*decoder=",
        ),
        (
            lambda: autoencoder(sequential(layers.Rescaling(2.0, name="scale"))),
            "'scale' has no known mirror image.*decoder=.*Rescaling",
        ),
        (lambda: autoencoder(sequential(layers.Flatten())), "Dense or a convolution"),
        (
            lambda: autoencoder(sequential(layers.Conv2D(2, 3), shape=(None, 8, 1))),
            "known shape.*decoder=",
        ),
        (
            lambda: autoencoder(dense(), layers.Dense(5)),
            r"decoder must return.*\(6,\).*\(5,\)",
        ),
        (lambda: autoencoder(dense(), "mirror"), "decoder='mirror'"),
        (
            lambda: autoencoder(dense(), layers.Dense(6), output_activation="relu"),
            "output_activation='relu'",
        ),
        (lambda: autoencoder(dense(), noise=-1), "noise must be.*or a layer.*noise=-1"),
    ],
)
def test_bad_arguments_are_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_given_decoder_replaces_the_mirror_image():
    encoder = sequential(layers.Rescaling(2.0), layers.Flatten(), layers.Dense(3))
    decoder = keras.Sequential(
        [keras.Input((3,)), layers.Dense(64), layers.Reshape((8, 8, 1))]
    )
    assert autoencoder(encoder, decoder).output_shape == (None, 8, 8, 1)
