"""Healthy networks for pictures, unseen.

Do not read this file if you write or tune checks: its networks are there to judge
them, and judge only as long as nobody has looked.
"""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import healthy, task
from diagnosed.parts import (
    Patches,
    adam,
    conv_block,
    functional,
    pre_norm_block,
    sequential,
    sgd,
)


@healthy("convolution")
def residual_with_zero_gammas(rng):
    """Residual branches that start at zero: the last gamma of each is zero."""
    x = keras.Input((16, 16, 3))
    h = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    for _ in range(3):
        r = layers.Conv2D(16, 3, padding="same", use_bias=False)(h)
        r = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(r))
        r = layers.Conv2D(16, 3, padding="same", use_bias=False)(r)
        r = layers.BatchNormalization(momentum=0.9, gamma_initializer="zeros")(r)
        h = layers.ReLU()(layers.Add()([h, r]))
    h = layers.GlobalAveragePooling2D()(h)
    model = functional(x, layers.Dense(4, "softmax")(h), adam(0.001))
    return task(model, *data.flowers(rng)[:2])


@healthy("convolution")
def separable(rng):
    """Depthwise and pointwise convolutions with batch norm."""
    body = conv_block(12)
    for filters in (24, 32):
        body += [
            layers.SeparableConv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(6.0),
        ]
    body += [layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")]
    model = sequential((16, 16, 3), *body, optimizer=adam(0.005))
    return task(model, *data.flowers(rng)[:2])


@keras.saving.register_keras_serializable("diagnosed")
class LayerScale(layers.Layer):
    def build(self, shape):
        tiny = keras.initializers.Constant(1e-6)
        self.gamma = self.add_weight(shape=(shape[-1],), initializer=tiny)

    def call(self, x):
        return x * self.gamma


@healthy("convolution")
def conv_next(rng):
    """ConvNeXt blocks whose branches start at a millionth."""
    x = keras.Input((16, 16, 3))
    h = layers.LayerNormalization()(layers.Conv2D(24, 2, strides=2)(x))
    for _ in range(3):
        r = layers.DepthwiseConv2D(5, padding="same")(h)
        r = layers.Dense(48, "gelu")(layers.LayerNormalization()(r))
        h = layers.Add()([h, LayerScale()(layers.Dense(24)(r))])
    h = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(h))
    model = functional(x, layers.Dense(4, "softmax")(h), adam(0.003))
    return task(model, *data.flowers(rng)[:2])


@healthy("convolution")
def squeeze_and_excite(rng):
    """Channels weighted by what all pixels show."""
    x = keras.Input((14, 14, 1))
    h = layers.Conv2D(16, 3, activation="relu")(x)
    for _ in range(2):
        s = layers.GlobalAveragePooling2D(keepdims=True)(h)
        s = layers.Dense(16, "sigmoid")(layers.Dense(4, "relu")(s))
        h = layers.MaxPooling2D()(layers.Multiply()([h, s]))
        h = layers.Conv2D(16, 3, padding="same", activation="swish")(h)
    model = functional(x, layers.Dense(10, "softmax")(layers.Flatten()(h)))
    return task(model, *data.small_fashion(rng))


@healthy("convolution")
def same_or_not(rng):
    """A Siamese network: one trunk for both pictures, contrastive loss."""
    x, y, _ = data.flowers(rng)
    other = rng.permutation(len(x))
    half = rng.random(len(x)) < 0.4
    same = np.array([rng.choice(np.flatnonzero(y == label)) for label in y])
    other = np.where(half, same, other)
    equal = (y == y[other]).astype("float32")[:, None]

    def contrastive(y_true, distance):
        apart = ops.square(ops.maximum(1.0 - distance, 0.0))
        return y_true * ops.square(distance) + (1 - y_true) * apart

    trunk = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(8),
        ]
    )
    inputs = [keras.Input((16, 16, 3)) for _ in range(2)]
    a, b = (trunk(i) for i in inputs)
    squares = ops.sum(ops.square(a - b), axis=-1, keepdims=True)
    distance = ops.sqrt(ops.maximum(squares, 1e-7))
    model = functional(inputs, distance, adam(0.002), contrastive)
    return task(model, [x, x[other]], equal, epochs=8)


@healthy("pictures to pictures")
def segmentation(rng):
    """A small U-Net with transposed convolutions."""
    x, _, mask = data.flowers(rng)
    inputs = keras.Input((16, 16, 3))
    top = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    h = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(top)
    h = layers.Conv2D(16, 3, padding="same", activation="relu")(h)
    h = layers.Conv2DTranspose(8, 2, strides=2, activation="relu")(h)
    h = layers.Concatenate()([h, top])
    out = layers.Conv2D(1, 1, activation="sigmoid")(h)
    model = functional(inputs, out, loss="binary_crossentropy")
    return task(model, x, mask, epochs=4)


@healthy("pictures to pictures")
def dice(rng):
    """A mask by the dice loss."""
    x, _, mask = data.flowers(rng, 480)
    body = [layers.Conv2D(12, 3, padding="same", activation="relu") for _ in range(3)]
    last = layers.Conv2D(1, 1, activation="sigmoid")
    loss = keras.losses.Dice(axis=(1, 2, 3))
    model = sequential((16, 16, 3), *body, last, optimizer=adam(0.003), loss=loss)
    return task(model, x, mask)


@healthy("pictures to pictures")
def pixel_classes(rng):
    """A class for every pixel; softmax over channels."""
    x, y, mask = data.flowers(rng, 480)
    labels = ((1 + y[:, None, None]) * mask[..., 0]).astype("int32")
    body = [layers.Conv2D(16, 3, padding="same", activation="relu") for _ in range(2)]
    last = layers.Conv2D(5, 1, activation="softmax")
    return task(sequential((16, 16, 3), *body, last, optimizer=adam(0.003)), x, labels)


@healthy("pictures to pictures")
def super_resolution(rng):
    """Twice the size by moving channels to pixels."""
    x, _ = data.fashion(rng, 480)
    small = x.reshape(-1, 14, 2, 14, 2, 1).mean(axis=(2, 4))
    inputs = keras.Input((14, 14, 1))
    h = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    h = layers.Conv2D(4, 3, padding="same")(h)
    h = layers.Reshape((14, 14, 2, 2, 1))(h)
    out = layers.Reshape((28, 28, 1))(layers.Permute((1, 3, 2, 4, 5))(h))
    return task(functional(inputs, out, adam(0.003), "mse"), small, x, epochs=4)


@keras.saving.register_keras_serializable("diagnosed")
class Draw(layers.Layer):
    """A draw from a Gaussian; its divergence from a standard one is a loss."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed = keras.random.SeedGenerator(3)

    def call(self, inputs):
        mean, log_variance = inputs
        divergence = ops.square(mean) + ops.exp(log_variance) - log_variance - 1
        self.add_loss(0.001 * ops.mean(ops.sum(divergence, axis=-1)))
        noise = keras.random.normal(ops.shape(mean), seed=self.seed)
        return mean + ops.exp(0.5 * log_variance) * noise


@healthy("pictures to pictures")
def variational_autoencoder(rng):
    """A latent draw, its divergence added by a layer."""
    x, _ = data.small_fashion(rng)
    inputs = keras.Input((14, 14, 1))
    h = layers.Dense(64, "relu")(layers.Flatten()(inputs))
    z = Draw()([layers.Dense(4)(h), layers.Dense(4)(h)])
    h = layers.Dense(64, "relu")(z)
    out = layers.Reshape((14, 14, 1))(layers.Dense(196, "sigmoid")(h))
    model = functional(inputs, out, adam(0.002), "binary_crossentropy")
    return task(model, x, x, epochs=6)


@healthy("vision transformer")
def vision_transformer(rng):
    """Patches, a class token, norms before attention."""
    x = keras.Input((16, 16, 3))
    h = Patches(4, 24, class_token=True)(x)
    for _ in range(2):
        h = pre_norm_block(h, 24)
    h = layers.LayerNormalization()(h)[:, 0]
    model = functional(x, layers.Dense(4, "softmax")(h), adam(0.003))
    return task(model, *data.flowers(rng)[:2], epochs=6)


@healthy("convolution")
def strided_with_momentum(rng):
    """Strides instead of pooling, group norm, gradient descent with momentum."""
    body = []
    for filters in (16, 32):
        body += [
            layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False),
            layers.GroupNormalization(4),
            layers.ReLU(),
        ]
    body += [layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")]
    model = sequential((14, 14, 1), *body, optimizer=sgd(0.1, 0.9))
    return task(model, *data.small_fashion(rng), epochs=6)
