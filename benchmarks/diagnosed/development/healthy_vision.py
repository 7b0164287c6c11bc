"""Healthy networks for pictures."""

import keras
import numpy as np
from keras import layers

from diagnosed import data
from diagnosed.case import healthy, task
from diagnosed.parts import (
    Patches,
    TransformerBlock,
    adam,
    functional,
    sequential,
)


@healthy("convolution")
def le_net(rng):
    """Tanh and average pooling, as in 1998."""
    body = [
        layers.Conv2D(6, 5, activation="tanh", padding="same"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="tanh"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(32, "tanh"),
        layers.Dense(10, "softmax"),
    ]
    return task(sequential((28, 28, 1), *body), *data.fashion(rng), epochs=4)


@healthy("convolution")
def vgg_with_dropout(rng):
    """Pairs of convolutions, pooling, and dropout before the end."""
    body = []
    for filters in (8, 16):
        body += [
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
        ]
    body += [layers.Flatten(), layers.Dropout(0.4), layers.Dense(10, "softmax")]
    model = sequential((14, 14, 1), *body, optimizer=adam(0.002))
    return task(model, *data.small_fashion(rng), epochs=8)


@healthy("convolution")
def densely_connected(rng):
    """Each layer sees all before it."""
    x = keras.Input((14, 14, 1))
    h = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    for _ in range(4):
        g = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(h))
        h = layers.Concatenate()([h, layers.Conv2D(8, 3, padding="same")(g)])
    h = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(h))
    h = layers.GlobalAveragePooling2D()(h)
    model = functional(x, layers.Dense(10, "softmax")(h), adam(0.003))
    return task(model, *data.small_fashion(rng), epochs=6)


@healthy("convolution")
def augmented_bytes(rng):
    """Pixels from 0 to 255 behind `Rescaling`, with random flips and shifts."""
    x, y, _ = data.flowers(rng)
    body = [
        layers.Rescaling(1 / 255),
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.1, 0.1),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(4, "softmax"),
    ]
    return task(sequential((16, 16, 3), *body), (255 * x).astype("uint8"), y)


@healthy("convolution")
def where_and_what(rng):
    """The class of a blob and the fraction of the picture that it covers."""
    x, y, mask = data.flowers(rng)
    size = mask.mean(axis=(1, 2))
    inputs = keras.Input((16, 16, 3))
    h = layers.MaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(inputs))
    h = layers.Flatten()(layers.Conv2D(16, 3, activation="relu")(h))
    outputs = [layers.Dense(4, "softmax")(h), layers.Dense(1, "sigmoid")(h)]
    model = keras.Model(inputs, outputs)
    model.compile(
        "adam", ["sparse_categorical_crossentropy", "mse"], loss_weights=[1, 5]
    )
    return task(model, x, [y, size])


@healthy("pictures to pictures")
def denoising(rng):
    """Grey values from noisy ones: their crossentropy cannot reach zero."""
    x, _ = data.small_fashion(rng)
    noisy = np.clip(x + 0.2 * rng.normal(size=x.shape), 0, 1).astype("float32")
    body = [
        layers.Conv2D(12, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(12, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
    ]
    model = sequential((14, 14, 1), *body, loss="binary_crossentropy")
    return task(model, noisy, x)


@healthy("pictures to pictures")
def diffusion(rng):
    """The noise in a picture, given its level; the last layer starts at zero."""
    x, _ = data.small_fashion(rng)
    x = 2 * x - 1
    level = rng.uniform(0.05, 0.95, (len(x), 1)).astype("float32")
    noise = rng.normal(size=x.shape).astype("float32")
    share = level[:, :, None, None]
    mixed = np.sqrt(1 - share) * x + np.sqrt(share) * noise
    inputs = [keras.Input((14, 14, 1)), keras.Input((1,))]
    known = layers.Dense(16, "swish")(inputs[1])
    h = layers.Conv2D(16, 3, padding="same")(inputs[0])
    for _ in range(2):
        r = layers.Conv2D(16, 3, padding="same")(layers.Activation("swish")(h))
        r = r + layers.Reshape((1, 1, 16))(layers.Dense(16)(known))
        h = h + layers.Conv2D(16, 3, padding="same")(layers.Activation("swish")(r))
    out = layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros")(h)
    return task(
        functional(inputs, out, adam(0.003), "mse"), [mixed, level], noise, epochs=4
    )


@healthy("vision transformer")
def pooled_vision_transformer(rng):
    """Norms after attention, the mean of all patches."""
    x = keras.Input((14, 14, 1))
    h = TransformerBlock(32, 4, 64)(Patches(2, 32)(x))
    h = layers.GlobalAveragePooling1D()(TransformerBlock(32, 4, 64)(h))
    model = functional(x, layers.Dense(10, "softmax")(h), adam(0.002))
    return task(model, *data.small_fashion(rng), epochs=6)


@healthy("vision transformer")
def mixer(rng):
    """MLP-Mixer: dense layers over patches and over channels in turn."""
    x = keras.Input((16, 16, 3))
    h = Patches(4, 24)(x)
    for _ in range(2):
        t = layers.Permute((2, 1))(layers.LayerNormalization()(h))
        t = layers.Dense(16)(layers.Dense(32, "gelu")(t))
        h = layers.Add()([h, layers.Permute((2, 1))(t)])
        c = layers.Dense(48, "gelu")(layers.LayerNormalization()(h))
        h = layers.Add()([h, layers.Dense(24)(c)])
    h = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(h))
    model = functional(x, layers.Dense(4, "softmax")(h), adam(0.002))
    return task(model, *data.flowers(rng)[:2])
