"""Generative adversarial networks, to pre-train the discriminator.

I. Goodfellow et al., "Generative adversarial nets", 2014; A. Radford, L. Metz and
S. Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks", 2016.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._keras.losses import loss_tracker_of
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn.pretraining._encoder import checked, numbers_in
from keras_dnn.pretraining._models_with_targets import OwnTargets
from keras_dnn.pretraining._random_layers import FIXED_SEED, ReplicaSeed


def gan(
    generator: keras.Model, discriminator: keras.Model, *, seed: int | None = None
) -> keras.Model:
    r"""Returns a model that trains a discriminator to detect generated inputs.

    $$
    \min_D \; \tfrac12 \mathbb{E}\big[L(1, D(x)) + L(0, D(G(z)))\big], \qquad
    \min_G \; \mathbb{E}\, L(1, D(G(z))), \qquad z \sim N(0, 1)
    $$

    With the cross-entropy as $L$ the second is the non-saturating loss of the paper. At
    each step both losses are computed with the same weights from the same generated
    batch; each changes only the weights of its own network, in one update of the
    optimizer. Real and generated batches pass through the discriminator separately, so
    that a batch norm in it normalises each by its own statistics.

    The loss in the logs is the discriminator's, beside `generator_loss`. The metrics of
    `compile` measure the discriminator: at an accuracy near 1/2 it cannot detect
    generated inputs, near 1 it detects almost all of them.

    Args:
        generator: a functional model, or a Sequential that begins with `keras.Input`,
            that turns noise of a known shape into inputs of the discriminator.
        discriminator: a model of the same kind with one output for each input: a
            probability, or a logit where the loss takes logits. It is part of the
            model, not a copy: reuse its lower layers afterwards.
        seed: integer seed of the noise.

    Returns:
        A model to compile with a loss between 1 or 0 and the discriminator's output,
        such as `"binary_crossentropy"`, and to train with `fit(x)`. A call of it is a
        call of the discriminator; `generator.predict(noise)` generates inputs. For two
        learning rates compile it with `keras.optimizers.MultiOptimizer`.

    Raises:
        ValueError: if one of the two has no graph, their shapes don't match, or the
            discriminator has more than one output for each input or takes anything but
            floating-point numbers.
        RuntimeError: if Keras does not run on TensorFlow.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> from keras_dnn.models import reuse_layers
        >>> from keras_dnn.pretraining import gan
        >>> dense = keras.layers.Dense
        >>> generator = keras.Sequential([keras.Input((3,)), dense(8)])
        >>> discriminator = keras.Sequential(
        ...     [keras.Input((8,)), dense(4, "relu"), dense(1, "sigmoid")]
        ... )
        >>> model = gan(generator, discriminator)
        >>> model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        >>> history = model.fit(np.ones((32, 8)), verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'generator_loss', 'loss']
        >>> classifier = reuse_layers(discriminator, -2, dense(3, "softmax"))

    Reference:
        Goodfellow et al., "Generative adversarial nets", 2014. Radford, Metz and
        Chintala, "Unsupervised representation learning with deep convolutional
        generative adversarial networks", 2016.
    """
    require_tensorflow("keras_dnn.pretraining.gan")
    checked(generator, "generator")
    checked(discriminator, "discriminator")
    numbers_in(discriminator, "gan", "discriminator")
    noise, generated, real, prediction = (
        tuple(tensor.shape[1:])
        for model in (generator, discriminator)
        for tensor in (model.inputs[0], model.outputs[0])
    )
    if None in noise:
        raise ValueError(
            "generator must take noise of a known shape. Received: a generator with "
            f"inputs of shape {noise}"
        )
    if len(generated) != len(real) or any(
        a != b and None not in (a, b) for a, b in zip(generated, real, strict=True)
    ):
        raise ValueError(
            "generator must return what the discriminator takes. Received: a generator "
            f"that returns the shape {generated}, a discriminator that takes {real}"
        )
    if prediction != (1,):
        raise ValueError(
            "discriminator must return one number for each input. Received: a "
            f"discriminator with outputs of shape {prediction}"
        )
    return Adversaries(generator, discriminator, seed=seed, name="gan")


@keras.saving.register_keras_serializable(package="keras_dnn")
class Adversaries(OwnTargets, keras.Model):
    """A generator and a discriminator that are trained against each other.

    Args:
        generator: turns noise into inputs.
        discriminator: distinguishes them from real ones.
        seed: integer seed of the noise.
        **kwargs: the arguments of `keras.Model`.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.seed = seed
        self.seed_generator = ReplicaSeed(seed)
        self.generator_loss = keras.metrics.Mean(name="generator_loss")
        self.built = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.discriminator(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Updates both networks once."""
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        nets = (self.generator, self.discriminator)
        with tf.GradientTape(persistent=True) as tape:
            losses, labelled = self._both_losses(x, sample_weight, training=True)
            scaled = [self.optimizer.scale_loss(loss) for loss in losses]
        gradients, variables = [], []
        for net, loss in zip(nets, scaled, strict=True):
            variables += net.trainable_weights
            gradients += tape.gradient(loss, net.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._logs(x, losses, *labelled)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Computes both losses, with the same noise each time."""
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        losses, labelled = self._both_losses(x, sample_weight, training=False)
        return self._logs(x, losses, *labelled)

    def own_targets(self, x: Tensor) -> Tensor:
        """Returns ones, since the data are real."""
        return tf.ones((tf.shape(x)[0], 1))

    def _both_losses(
        self, x: Tensor, sample_weight: Tensor | None, training: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The losses of generator and discriminator; labels and predictions."""
        noise = keras.random.normal(
            (tf.shape(x)[0], *self.generator.inputs[0].shape[1:]),
            dtype=self.generator.inputs[0].dtype,
            seed=self.seed_generator if training else FIXED_SEED,
        )
        generated = self.generator(noise, training=training)
        real = self.discriminator(x, training=training)
        fake = self.discriminator(generated, training=training)
        labels = tf.concat([tf.ones_like(real), tf.zeros_like(fake)], axis=0)
        predictions = tf.concat([real, fake], axis=0)
        weights = sample_weight
        if weights is not None:
            weights = tf.concat([weights, tf.ones_like(weights)], axis=0)
        of_generator = self.compute_loss(x, tf.ones_like(fake), fake, None, training)
        of_discriminator = self.compute_loss(x, labels, predictions, weights, training)
        return (of_generator, of_discriminator), (labels, predictions)

    def _logs(
        self,
        x: Tensor,
        losses: tuple[Tensor, Tensor],
        labels: Tensor,
        predictions: Tensor,
    ) -> dict[str, Tensor]:
        batch = tf.shape(x)[0]
        # Keras divides each replica's loss by the number of replicas.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for tracker, loss in zip(
            (self.generator_loss, loss_tracker_of(self)), losses, strict=True
        ):
            tracker.update_state(loss * replicas, sample_weight=batch)
        logs: dict[str, Tensor] = self.compute_metrics(x, labels, predictions)
        return logs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "generator": serialize(self.generator),
            "discriminator": serialize(self.discriminator),
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model of a config."""
        load = keras.saving.deserialize_keras_object
        nets = {
            name: load(config[name], custom_objects=custom_objects)
            for name in ("generator", "discriminator")
        }
        return cls(**{**config, **nets})
