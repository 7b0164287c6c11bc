"""Models whose training step is their own, as in public examples."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

ROWS, BATCH = 24, 8


def data(seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, 4)).astype("float32")


class Pair(keras.Model):
    """A generator and a discriminator, which makes two updates for each of the other's.

    `compile` gives the model an optimizer that is never applied.
    """

    def __init__(self, built=True):
        super().__init__()
        start = [keras.Input((4,))] if built else []
        self.generator = keras.Sequential([*start, layers.Dense(4)])
        self.critic = keras.Sequential(
            [*start, layers.Dense(3, "tanh"), layers.Dense(1)]
        )

    def compile(self, critic, generator, **options):
        super().compile(**options)
        self.critic_optimizer, self.generator_optimizer = critic, generator

    def critic_loss(self, x):
        return ops.mean(self.critic(self.generator(x)) ** 2) - ops.mean(self.critic(x))

    def generator_loss(self, x):
        return ops.mean(ops.abs(self.critic(self.generator(x))))

    def updates(self):
        return (
            (self.critic_loss, self.critic, self.critic_optimizer),
            (self.critic_loss, self.critic, self.critic_optimizer),
            (self.generator_loss, self.generator, self.generator_optimizer),
        )

    def train_step(self, x):
        logs = {}
        for loss_of, part, optimizer in self.updates():
            with tf.GradientTape() as tape:
                loss = loss_of(x)
            gradients = tape.gradient(loss, part.trainable_weights)
            optimizer.apply_gradients(
                zip(gradients, part.trainable_weights, strict=True)
            )
            logs[f"{part.name}_loss"] = loss
        return logs


class Single(keras.Model):
    """One network, whose loss only its step knows, trained by an optimizer of its own.

    Args:
        own: the optimizer.
    """

    def __init__(self, own):
        super().__init__()
        self.net = keras.Sequential(
            [keras.Input((4,)), layers.Dense(1, kernel_initializer="ones")]
        )
        self.own = own

    def apply(self, gradients, variables):
        self.own.apply(gradients, variables)

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(self.net(x) - 3.0))
        variables = self.net.trainable_weights
        self.apply(tape.gradient(loss, variables), variables)
        return {"g_loss": loss}


class Hiding(Single):
    """Applies its optimizer in a function that is compiled on its own."""

    @tf.function
    def in_function(self, x):
        return super().train_step(x)

    def train_step(self, x):
        return self.in_function(x)


ELSEWHERE = {}
"""Where no search finds an optimizer."""


class Elsewhere(Single):
    """Applies an optimizer that is no attribute of the model."""

    def apply(self, gradients, variables):
        ELSEWHERE[self.name].apply(gradients, variables)


def single(optimizer, cls=Single):
    keras.utils.set_random_seed(1)
    model = cls(optimizer)
    model.compile()
    return model


def pair(make, built=True, **options):
    keras.utils.set_random_seed(1)
    model = Pair(built)
    model.compile(make(0.1), make(0.02), **options)
    return model


def fit(model, *callbacks, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0} | options
    return model.fit(data(), callbacks=list(callbacks), **options)
