"""Healthy dense networks: classes, regressions, adapters, precision."""

import keras
import numpy as np
from keras import layers, ops

from diagnosed import data
from diagnosed.case import Task, healthy, task
from diagnosed.parts import adam, functional, sequential


@healthy("dense")
def fashion_mlp(rng):
    """Two dense layers of Keras's defaults on pictures."""
    body = [layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(32, "relu")]
    model = sequential((28, 28, 1), *body, layers.Dense(10, "softmax"))
    return task(model, *data.fashion(rng))


@healthy("dense")
def yes_or_no(rng):
    """One sigmoid and the binary crossentropy."""
    x, y = data.columns(rng, classes=2)
    body = [layers.Dense(32, "relu"), layers.Dropout(0.2), layers.Dense(1, "sigmoid")]
    model = sequential((10,), *body, loss="binary_crossentropy")
    return task(model, x, y[:, None].astype("float32"))


@healthy("dense")
def fraud(rng):
    """One example in twelve is positive; the last bias starts at their log-odds."""
    x, _ = data.columns(rng, 900)
    y = (x[:, 0] + x[:, 1] + 0.3 * rng.normal(size=900) > 2.0).astype("float32")
    start = keras.initializers.Constant(np.log(y.mean() / (1 - y.mean())))
    last = layers.Dense(1, "sigmoid", bias_initializer=start)
    model = sequential(
        (10,), layers.Dense(32, "relu"), last, loss="binary_crossentropy"
    )
    return task(model, x, y[:, None])


@healthy("dense")
def distilled(rng):
    """A teacher's probabilities as targets, Kullback-Leibler divergence."""
    x, _ = data.columns(rng)
    scores = np.tanh(x @ rng.normal(size=(10, 4))) @ rng.normal(size=(4, 4))
    y = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    body = [layers.Dense(48, "relu"), layers.Dense(4, "softmax")]
    return task(sequential((10,), *body, loss="kl_divergence"), x, y.astype("float32"))


@healthy("dense")
def deep_selu(rng):
    """Ten self-normalising layers."""
    body = [
        layers.Dense(32, "selu", kernel_initializer="lecun_normal") for _ in range(10)
    ]
    model = sequential((10,), *body, layers.Dense(3, "softmax"))
    return task(model, *data.columns(rng))


@healthy("dense")
def mixture_of_experts(rng):
    """Four experts, of which a sparse gate takes the best two."""
    x = keras.Input((10,))
    scores = layers.Dense(4)(x)
    weakest = ops.sort(scores, axis=-1)[:, 2:3]
    gate = ops.softmax(ops.where(scores >= weakest, scores, -1e9))
    experts = [layers.Dense(16, "relu")(x) for _ in range(4)]
    h = ops.sum(ops.stack(experts, axis=1) * gate[..., None], axis=1)
    return task(functional(x, layers.Dense(3, "softmax")(h)), *data.columns(rng))


@healthy("dense")
def ratings(rng):
    """Matrix factorisation: people and films, ratings from 1 to 5."""
    people, films = rng.integers(0, 30, 1200), rng.integers(0, 25, 1200)
    taste, style = rng.normal(size=(30, 3)), rng.normal(size=(25, 3))
    score = 3 + (taste[people] * style[films]).sum(axis=1) * 0.8
    y = np.clip(np.round(score), 1, 5).astype("float32")[:, None]
    inputs = [keras.Input((1,), dtype="int32") for _ in range(2)]
    vectors = [
        layers.Flatten()(layers.Embedding(n, 8)(i))
        for n, i in zip((30, 25), inputs, strict=True)
    ]
    start = keras.initializers.Constant(3.0)
    h = layers.Concatenate()([layers.Multiply()(vectors), *vectors])
    out = layers.Dense(1, bias_initializer=start)(layers.Dense(32, "relu")(h))
    model = functional(inputs, out, adam(0.003), "mse")
    return task(model, [people[:, None], films[:, None]], y)


@healthy("regression")
def curved_surface(rng):
    """Standardised columns and target."""
    body = [layers.Dense(64, "relu"), layers.Dense(64, "relu"), layers.Dense(1)]
    model = sequential((6,), *body, optimizer=adam(0.003), loss="mse", metrics=["mae"])
    return task(model, *data.curve(rng))


@healthy("regression")
def mean_and_variance(rng):
    """A Gaussian's negative log-likelihood, which may fall below zero."""
    x, y = data.curve(rng)

    def likelihood(y_true, y_pred):
        mean, log_variance = y_pred[:, :1], y_pred[:, 1:]
        return 0.5 * (log_variance + (y_true - mean) ** 2 * ops.exp(-log_variance))

    body = [layers.Dense(64, "tanh"), layers.Dense(2)]
    return task(sequential((6,), *body, optimizer=adam(0.003), loss=likelihood), x, y)


@healthy("regression")
def two_heads(rng):
    """A class and a number from one trunk, with weights of the losses."""
    x, label = data.columns(rng)
    number = np.tanh(x[:, :1] + x[:, 1:2])
    inputs = keras.Input((10,))
    h = layers.Dense(48, "relu")(inputs)
    outputs = {
        "label": layers.Dense(3, "softmax", name="label")(h),
        "number": layers.Dense(1, name="number")(h),
    }
    model = keras.Model(inputs, outputs)
    losses = {"label": "sparse_categorical_crossentropy", "number": "mse"}
    model.compile(adam(0.003), losses, loss_weights={"label": 1.0, "number": 2.0})
    return task(model, x, {"label": label, "number": number})


@healthy("adapters")
def low_rank_adapters(rng):
    """LoRA on the layers of a network that has learnt a related task."""
    x, y = data.columns(rng)
    model = sequential((10,), layers.Dense(48, "relu"), layers.Dense(3, "softmax"))
    model.fit(x[:320], y[:320], epochs=6, verbose=0)
    for layer in model.layers:
        layer.enable_lora(4)
    model.compile(adam(0.003), "sparse_categorical_crossentropy")
    return task(model, x, (y + 1) % 3)


@healthy("adapters")
def trained_already(rng):
    """A second `fit` of a network that has learnt the task."""
    x, y = data.columns(rng, 900)
    model = sequential((10,), layers.Dense(32, "relu"), layers.Dense(3, "softmax"))
    model.fit(x[:720], y[:720], epochs=12, verbose=0)
    return task(model, x, y, epochs=3)


@healthy("precision")
def pipeline_of_pictures(rng):
    """A `tf.data` pipeline that scales bytes and augments."""
    import tensorflow as tf

    x, y, _ = data.flowers(rng)
    x = (255 * x).astype("uint8")
    flip = layers.RandomFlip("horizontal")

    def prepared(x, y, training):
        sets = tf.data.Dataset.from_tensor_slices((x, y))
        sets = sets.shuffle(512, seed=1) if training else sets
        sets = sets.batch(16).map(lambda x, y: (tf.cast(x, "float32") / 255.0, y))
        return sets.map(lambda x, y: (flip(x, training=True), y)) if training else sets

    body = [layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D()]
    body += [layers.Conv2D(24, 3, activation="relu"), layers.GlobalAveragePooling2D()]
    model = sequential(
        (16, 16, 3), *body, layers.Dense(4, "softmax"), optimizer=adam(0.005)
    )
    validation = prepared(x[512:], y[512:], False)
    return Task(model, prepared(x[:512], y[:512], True), validation=validation)
