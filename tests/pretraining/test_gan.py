"""Updates of generator and discriminator against tapes and formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.models import reuse_layers
from keras_dnn.pretraining import gan
from tests.pretraining.pretraining_cases import convolutional, dense, normal

layers = keras.layers
RATE, BATCH, NOISE = 0.1, 4, 3


def nets(regularizer=None):
    generator = keras.Sequential(
        [keras.Input((NOISE,)), layers.Dense(5, "tanh"), layers.Dense(6)]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, "tanh", name="low", kernel_regularizer=regularizer),
            layers.Dense(1, name="output"),
        ]
    )
    return generator, discriminator


def compiled(seed=7, **options):
    generator, discriminator = nets(options.pop("regularizer", None))
    model = gan(generator, discriminator, seed=seed)
    # Created here, since a loss keeps the float type at its creation.
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss, **options)
    return model


def by_hand(model, x, weights, penalty=0.0):
    """Both updates, each with its own tape and formula, and both losses."""
    draws = keras.random.SeedGenerator(7)
    generator, discriminator = (
        keras.models.clone_model(net) for net in (model.generator, model.discriminator)
    )
    generator.set_weights(model.generator.get_weights())
    discriminator.set_weights(model.discriminator.get_weights())
    losses = []
    for batch, w in zip(
        x.reshape(-1, BATCH, 6), weights.reshape(-1, BATCH, 1), strict=True
    ):
        z = keras.random.normal((BATCH, NOISE), dtype="float64", seed=draws)
        with tf.GradientTape() as tape:
            of_generator = tf.reduce_mean(tf.nn.softplus(-discriminator(generator(z))))
        generator_gradients = tape.gradient(of_generator, generator.trainable_variables)
        with tf.GradientTape() as tape:
            real = tf.reduce_mean(w * tf.nn.softplus(-discriminator(batch)))
            fake = tf.reduce_mean(tf.nn.softplus(discriminator(generator(z))))
            kernel = discriminator.get_layer("low").kernel.value
            of_discriminator = (real + fake) / 2 + penalty * tf.reduce_sum(kernel**2)
        discriminator_gradients = tape.gradient(
            of_discriminator, discriminator.trainable_variables
        )
        for net, gradients in (
            (generator, generator_gradients),
            (discriminator, discriminator_gradients),
        ):
            for variable, gradient in zip(
                net.trainable_variables, gradients, strict=True
            ):
                variable.assign_sub(RATE * gradient)
        losses.append((of_generator, of_discriminator))
    return generator.get_weights(), discriminator.get_weights(), np.array(losses)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("case", ["plain", "weighted", "penalised"])
def test_each_update_follows_its_own_loss_and_weights(case):
    # Keras stores it in float32, where this number is exact.
    penalty = 0.125 if case == "penalised" else 0.0
    regularizer = keras.regularizers.L2(penalty) if penalty else None
    model = compiled(regularizer=regularizer)
    x, weights = normal(12, 6, dtype="float64"), np.ones(12)
    if case == "weighted":
        weights = np.random.default_rng(1).uniform(0, 2, size=12)
    generator, discriminator, losses = by_hand(model, x, weights, penalty)

    logs = model.fit(
        x,
        # Keras drops weights that come without targets.
        np.ones((12, 1)) if case == "weighted" else None,
        sample_weight=weights if case == "weighted" else None,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
    ).history

    for net, expected in (
        (model.generator, generator),
        (model.discriminator, discriminator),
    ):
        for found, value in zip(net.get_weights(), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-13)
    assert logs["loss"] == pytest.approx([losses[:, 1].mean()], rel=1e-10)
    if not penalty:
        assert logs["generator_loss"] == pytest.approx([losses[:, 0].mean()], rel=1e-10)


def test_metrics_are_about_the_discriminator():
    """A discriminator that always predicts 'real' is right in half of the cases."""
    model = compiled(metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])
    output = model.discriminator.get_layer("output")
    output.set_weights([np.zeros((4, 1)), np.array([3.0])])
    x = normal(10, 6)
    logs = model.evaluate(x, batch_size=4, return_dict=True, verbose=0)
    assert logs["binary_accuracy"] == 0.5
    real, fake = np.log1p(np.exp(-3.0)), np.log1p(np.exp(3.0))
    assert logs["loss"] == pytest.approx((real + fake) / 2, rel=1e-6)
    assert logs["generator_loss"] == pytest.approx(real, rel=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), 3.0)


def test_evaluation_is_deterministic_and_training_noise_is_not():
    model, x = compiled(), normal(10, 6)
    first, second = (model.evaluate(x, verbose=0) for _ in range(2))
    assert first == second
    a, b = (model._both_losses(x, None, training=True)[0][0] for _ in range(2))
    assert float(a) != float(b)


def test_the_lower_layers_of_the_discriminator_can_be_reused():
    lower = convolutional()
    generator = keras.Sequential(
        [keras.Input((NOISE,)), layers.Dense(81), layers.Reshape((9, 9, 1))]
    )
    output = layers.Dense(1, "sigmoid", name="output")
    model = gan(generator, keras.Sequential([lower, output]))
    model.compile("adam", "binary_crossentropy")
    before = lower.get_weights()
    model.fit(normal(16, 9, 9, 1), verbose=0)
    assert all((a != b).any() for a, b in zip(before, lower.get_weights(), strict=True))
    classifier = reuse_layers(lower, "code", layers.Dense(3, name="head"))
    for a, b in zip(lower.get_weights(), classifier.get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)


def test_two_replicas_train_with_different_noise(two_replicas):
    with two_replicas.scope():
        model = compiled()
    x = normal(16, 6)
    logs = model.fit(x, batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    # The mean over both, neither their sum nor half of it.
    assert 0.5 < logs["loss"][0] < 1.0


@pytest.mark.parametrize(
    ("generator", "discriminator", "message"),
    [
        (layers.Dense(3), nets()[1], "generator must be a functional"),
        (nets()[0], layers.Dense(3), "discriminator must be a functional"),
        (nets()[0], nets()[0], r"returns the shape \(6,\).*takes \(3,\)"),
        (
            nets()[0],
            keras.Sequential(
                [keras.Input((6,), dtype="int32"), layers.Embedding(5, 2)]
            ),
            "discriminator must take .*floating-point numbers.*int32",
        ),
        (nets()[0], dense(), r"one number.*shape \(3,\)"),
        (
            keras.Sequential([keras.Input((None, 6)), layers.Dense(6)]),
            nets()[1],
            "noise of a known shape",
        ),
    ],
)
def test_bad_arguments_are_explained(generator, discriminator, message):
    with pytest.raises(ValueError, match=message):
        gan(generator, discriminator)
