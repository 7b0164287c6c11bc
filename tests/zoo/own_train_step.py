"""Training steps and tests of a model's own, some with several optimizers."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from tests.zoo.arrays import classes, numbers
from tests.zoo.model_case import Data, zoo_model


class FromTheGuide(keras.Model):
    """The `train_step` of Keras's guide on customizing `fit`."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


def small_body() -> tuple[Any, Any]:
    inputs = keras.Input((6,))
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(inputs))
    return inputs, layers.Dense(1)(x)


@zoo_model(lambda: Data(numbers(6), numbers(1)))
def train_step_of_the_guide() -> keras.Model:
    """The `train_step` of Keras's guide: `compute_loss`, a tape, `optimizer.apply`."""
    model = FromTheGuide(*small_body())
    model.compile("adam", "mse", metrics=["mae"])
    return model


class LowLevel(keras.Model):
    """Computes its loss and metrics itself; `compile` gets an optimizer only."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.mae = keras.metrics.MeanAbsoluteError(name="mae")
        self.loss_mean = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> list[keras.Metric]:
        return [self.loss_mean, self.mae]

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = ops.mean(keras.losses.mean_squared_error(y, y_pred))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        self.loss_mean.update_state(loss)
        self.mae.update_state(y, y_pred)
        return {"loss": self.loss_mean.result(), "mae": self.mae.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        self.mae.update_state(y, self(x, training=False))
        return {"mae": self.mae.result()}


@zoo_model(lambda: Data(numbers(6), numbers(1)))
def compiled_without_loss() -> keras.Model:
    """A `train_step` with its own loss, and a `test_step` that reports no loss."""
    model = LowLevel(*small_body())
    model.compile(optimizer=keras.optimizers.Adam())
    return model


class GAN(keras.Model):
    def __init__(self, discriminator: Any, generator: Any, latent: int) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent = latent
        self.seed_generator = keras.random.SeedGenerator(1337)
        self.d_mean = keras.metrics.Mean(name="d_loss")
        self.g_mean = keras.metrics.Mean(name="g_loss")

    def compile(self, d_optimizer: Any, g_optimizer: Any, loss_fn: Any) -> None:
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    @property
    def metrics(self) -> list[keras.Metric]:
        return [self.d_mean, self.g_mean]

    def train_step(self, real: Any) -> dict[str, Any]:
        if isinstance(real, tuple):
            real = real[0]
        rows = ops.shape(real)[0]
        noise = keras.random.normal((rows, self.latent), seed=self.seed_generator)
        both = ops.concatenate([self.generator(noise), real], axis=0)
        labels = ops.concatenate([ops.ones((rows, 1)), ops.zeros((rows, 1))], axis=0)
        labels += 0.05 * keras.random.uniform(
            ops.shape(labels), seed=self.seed_generator
        )
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(both))
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply(tape.gradient(d_loss, weights), weights)

        noise = keras.random.normal((rows, self.latent), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            verdict = self.discriminator(self.generator(noise))
            g_loss = self.loss_fn(ops.zeros((rows, 1)), verdict)
        weights = self.generator.trainable_weights
        self.g_optimizer.apply(tape.gradient(g_loss, weights), weights)
        self.d_mean.update_state(d_loss)
        self.g_mean.update_state(g_loss)
        return {"d_loss": self.d_mean.result(), "g_loss": self.g_mean.result()}


@zoo_model(lambda: Data(numbers(6)), evaluates=False, predicts=False)
def gan() -> keras.Model:
    """A GAN as in keras-io: two models, two optimizers, no `call`."""
    discriminator = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Dropout(0.2),
            layers.Dense(1),
        ],
        name="discriminator",
    )
    generator = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(6)], name="generator"
    )
    model = GAN(discriminator, generator, 4)
    model.compile(
        d_optimizer=keras.optimizers.Adam(0.0003),
        g_optimizer=keras.optimizers.Adam(0.0003),
        loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


class Distiller(keras.Model):
    """Knowledge distillation as in keras-io, through `compute_loss`."""

    def __init__(self, student: keras.Model, teacher: keras.Model) -> None:
        super().__init__()
        self.teacher = teacher
        self.student = student

    def compile(self, distillation_loss: Any, alpha: float, **kwargs: Any) -> None:
        super().compile(**kwargs)
        self.distillation_loss = distillation_loss
        self.alpha = alpha

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        allow_empty: bool = False,
    ) -> Any:
        taught = ops.softmax(self.teacher(x, training=False) / 3.0, axis=1)
        learned = ops.softmax(y_pred / 3.0, axis=1)
        student_loss = super().compute_loss(x, y, y_pred, sample_weight)
        distilled = self.distillation_loss(taught, learned)
        return self.alpha * student_loss + (1 - self.alpha) * distilled

    def call(self, x: Any) -> Any:
        return self.student(x)


@zoo_model(lambda: Data(numbers(6), classes(3)))
def distiller() -> keras.Model:
    """A student that learns from a frozen teacher: `compile` and `compute_loss`."""
    teacher = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16, "relu"), layers.Dense(3)], name="teacher"
    )
    teacher.trainable = False
    student = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(3)], name="student"
    )
    model = Distiller(student, teacher)
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"],
        distillation_loss=keras.losses.KLDivergence(),
        alpha=0.1,
    )
    return model
