"""Generative and self-supervised models with training steps of their own."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from tests.zoo.arrays import numbers, pixels
from tests.zoo.model_case import Data, zoo_model


class Sampling(layers.Layer):
    """Draws a code from its mean and its log-variance."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs: Any) -> Any:
        mean, log_variance = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


class VAE(keras.Model):
    def __init__(self, encoder: Any, decoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.means = {
            name: keras.metrics.Mean(name=name)
            for name in ("loss", "reconstruction_loss", "kl_loss")
        }

    @property
    def metrics(self) -> list[keras.Metric]:
        return list(self.means.values())

    def call(self, inputs: Any) -> Any:
        return self.decoder(self.encoder(inputs)[2])

    def losses_of(self, x: Any) -> dict[str, Any]:
        mean, log_variance, code = self.encoder(x)
        error = ops.sum(ops.square(x - self.decoder(code)), axis=-1)
        kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
        reconstruction, kl = ops.mean(error), ops.mean(ops.sum(kl, axis=1))
        return {
            "loss": reconstruction + kl,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl,
        }

    def report(self, losses: dict[str, Any]) -> dict[str, Any]:
        for name, value in losses.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            losses = self.losses_of(data)
        gradients = tape.gradient(losses["loss"], self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        return self.report(losses)

    def test_step(self, data: Any) -> dict[str, Any]:
        return self.report(self.losses_of(data))


@zoo_model(lambda: Data(numbers(6)), random_at_inference=True)
def vae() -> keras.Model:
    """A variational autoencoder as in keras-io, random at inference too."""
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="relu")(inputs)
    mean, log_variance = layers.Dense(2)(x), layers.Dense(2)(x)
    code = Sampling()([mean, log_variance])
    encoder = keras.Model(inputs, [mean, log_variance, code], name="encoder")
    latent = keras.Input((2,))
    x = layers.Dense(8, activation="relu")(latent)
    decoder = keras.Model(latent, layers.Dense(6)(x), name="decoder")
    model = VAE(encoder, decoder)
    model.compile(optimizer=keras.optimizers.Adam())
    return model


def denoising_network() -> keras.Model:
    noisy, variance = keras.Input((8, 8, 1)), keras.Input((1, 1, 1))
    level = layers.UpSampling2D(8)(variance)
    x = layers.Concatenate()([layers.Conv2D(4, 1)(noisy), level])
    x = layers.BatchNormalization(center=False, scale=False)(x)
    x = layers.Conv2D(4, 3, padding="same", activation="swish")(x)
    x = layers.Conv2D(1, 1, kernel_initializer="zeros")(x)
    return keras.Model([noisy, variance], x, name="network")


class Denoiser(keras.Model):
    """A diffusion model as in keras-io's DDIM: two networks, one an average."""

    def __init__(self) -> None:
        super().__init__()
        self.normalizer = layers.Normalization(axis=-1)
        self.network = denoising_network()
        self.average = keras.models.clone_model(self.network)
        self.seeds = keras.random.SeedGenerator(3)

    def compile(self, **kwargs: Any) -> None:
        super().compile(**kwargs)
        self.noise_mean = keras.metrics.Mean(name="n_loss")
        self.image_mean = keras.metrics.Mean(name="i_loss")

    @property
    def metrics(self) -> list[keras.Metric]:
        return [self.noise_mean, self.image_mean]

    def denoise(self, noisy: Any, times: Any, training: bool) -> tuple[Any, Any]:
        network = self.network if training else self.average
        signal, noise = ops.cos(times), ops.sin(times)
        predicted = network([noisy, noise**2], training=training)
        return predicted, (noisy - noise * predicted) / signal

    def errors(self, images: Any, training: bool) -> tuple[Any, Any]:
        images = self.normalizer(images)
        rows = ops.shape(images)[0]
        noise = keras.random.normal(ops.shape(images), seed=self.seeds)
        times = keras.random.uniform((rows, 1, 1, 1), 0.1, 1.4, seed=self.seeds)
        noisy = ops.cos(times) * images + ops.sin(times) * noise
        predicted, cleaned = self.denoise(noisy, times, training)
        return self.loss(noise, predicted), self.loss(images, cleaned)

    def report(self, noise_loss: Any, image_loss: Any) -> dict[str, Any]:
        self.noise_mean.update_state(noise_loss)
        self.image_mean.update_state(image_loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def train_step(self, images: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            noise_loss, image_loss = self.errors(images, training=True)
        weights = self.network.trainable_weights
        gradients = tape.gradient(noise_loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        pairs = zip(self.network.weights, self.average.weights, strict=True)
        for weight, average in pairs:
            average.assign(0.99 * average + 0.01 * weight)
        return self.report(noise_loss, image_loss)

    def test_step(self, images: Any) -> dict[str, Any]:
        return self.report(*self.errors(images, training=False))


@zoo_model(lambda: Data(numbers(8, 8, 1)), predicts=False)
def denoiser() -> keras.Model:
    """A diffusion model as in keras-io's DDIM, with a moving average of itself."""
    model = Denoiser()
    model.normalizer.adapt(numbers(8, 8, 1))
    model.compile(
        optimizer=keras.optimizers.AdamW(), loss=keras.losses.MeanAbsoluteError()
    )
    return model


class SimCLR(keras.Model):
    """Contrastive pretraining with a probe: two optimizers in one step."""

    def __init__(self) -> None:
        super().__init__()
        self.augment = keras.Sequential(
            [keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.RandomFlip()]
        )
        self.encoder = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(4, 3, strides=2, activation="relu"),
                layers.Flatten(),
                layers.Dense(8, activation="relu"),
            ]
        )
        self.projection = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
        self.probe = keras.Sequential([keras.Input((8,)), layers.Dense(3)])

    def compile(
        self, contrastive_optimizer: Any, probe_optimizer: Any, **kwargs: Any
    ) -> None:
        super().compile(**kwargs)
        self.contrastive_optimizer = contrastive_optimizer
        self.probe_optimizer = probe_optimizer
        self.probe_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.c_mean = keras.metrics.Mean(name="c_loss")
        self.p_mean = keras.metrics.Mean(name="p_loss")

    @property
    def metrics(self) -> list[keras.Metric]:
        return [self.c_mean, self.p_mean]

    def contrastive_loss(self, first: Any, second: Any) -> Any:
        first, second = ops.normalize(first, axis=1), ops.normalize(second, axis=1)
        similarity = ops.matmul(first, ops.transpose(second)) / 0.1
        labels = ops.arange(ops.shape(first)[0])
        return ops.mean(
            keras.losses.sparse_categorical_crossentropy(labels, similarity, True)
        )

    def train_step(self, data: Any) -> dict[str, Any]:
        images, labels = data
        views = [self.augment(images, training=True) for _ in range(2)]
        with tf.GradientTape() as tape:
            codes = [self.projection(self.encoder(v, training=True)) for v in views]
            loss = self.contrastive_loss(*codes)
        weights = self.encoder.trainable_weights + self.projection.trainable_weights
        gradients = tape.gradient(loss, weights)
        self.contrastive_optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.c_mean.update_state(loss)
        features = self.encoder(self.augment(images, training=False))
        with tf.GradientTape() as tape:
            probe_loss = self.probe_loss(labels, self.probe(features))
        weights = self.probe.trainable_weights
        gradients = tape.gradient(probe_loss, weights)
        self.probe_optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.p_mean.update_state(probe_loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def test_step(self, data: Any) -> dict[str, Any]:
        images, labels = data
        features = self.encoder(self.augment(images, training=False))
        self.p_mean.update_state(self.probe_loss(labels, self.probe(features)))
        return {"p_loss": self.p_mean.result()}


@zoo_model(lambda: Data(pixels(8, 8, 3), numbers().astype("int32") % 3), predicts=False)
def simclr() -> keras.Model:
    """Contrastive pretraining as in keras-io: two optimizers, augmentation inside."""
    model = SimCLR()
    model.compile(
        contrastive_optimizer=keras.optimizers.Adam(),
        probe_optimizer=keras.optimizers.Adam(),
    )
    return model
