"""Healthy networks, their parts, and data."""

import keras
import numpy as np

from keras_dnn import initializers, recipes
from keras_dnn.optimizers import AdamW

layers = keras.layers
ROWS = 96
CLASSES = 4
SEED = 1
"""Of all weights and data here; `benchmarks/compare_diagnoses.py` changes it."""


def seeded():
    """Seeds the draw of a network's weights."""
    keras.utils.set_random_seed(SEED)


def digits(kind="mlp", rows=ROWS):
    """Examples that can be learnt: a pattern for each class, with noise."""
    rng = np.random.default_rng(SEED - 1)
    shape = (12, 12, 1) if kind == "cnn" else (20,)
    patterns = rng.normal(size=(CLASSES, *shape))
    y = rng.integers(0, CLASSES, rows)
    x = (patterns[y] + rng.normal(size=(rows, *shape))) / np.sqrt(2)
    return x.astype("float32"), y.astype("int32")


def network(
    kind="mlp",
    depth=4,
    activation="relu",
    initializer="he_normal",
    output="softmax",
    loss="sparse_categorical_crossentropy",
    last="glorot_uniform",
    norm=False,
    optimizer="adam",
    units=32,
    **options,
):
    """A multilayer or a convolutional network."""
    seeded()

    def initial():
        # An instance given twice draws the same weights twice.
        return keras.initializers.get(initializer)

    def hidden():
        now = {"kernel_initializer": initial(), "use_bias": not norm, **options}
        if kind == "cnn":
            return layers.Conv2D(16, 3, padding="same", **now)
        return layers.Dense(units, **now)

    body = [keras.Input((12, 12, 1) if kind == "cnn" else (20,))]
    for _ in range(depth):
        layer = hidden()
        body.append(layer)
        if norm:
            body += [layers.BatchNormalization(), layers.Activation(activation)]
        else:
            layer.activation = keras.activations.get(activation)
    if kind == "cnn":
        body.append(layers.GlobalAveragePooling2D() if norm else layers.Flatten())
    body.append(layers.Dense(CLASSES, output, kernel_initializer=last))
    model = keras.Sequential(body)
    model.compile(optimizer, loss)
    return model


def normal(deviation):
    return {
        "class_name": "RandomNormal",
        "config": {"mean": 0.0, "stddev": deviation, "seed": None},
    }


def from_logits():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def spoiled(kind, how):
    """Data with something wrong about it."""
    x, y = digits(kind)
    if how == "a NaN":
        x[3, 2] = np.nan
    elif how == "many NaN":
        x[::3] = np.nan
    elif how == "infinite":
        x[0, 0] = np.inf
    elif how == "from 1":
        y = y + 1
    elif how == "negative":
        y = y - 1
    elif how == "bytes":
        x = 255 * (x - x.min()) / (x.max() - x.min())
    elif how == "huge":
        x = 1000 * x
    elif how == "tiny":
        x = 1e-4 * x
    elif how == "one image":
        x = np.repeat(x[:1], len(x), axis=0)
    elif how in ("two images", "three images"):
        images = 2 if how == "two images" else 3
        x = x[np.random.default_rng(7).integers(0, images, len(x))]
    elif how.startswith("around"):
        y = float(how.split()[1]) + x.reshape(len(x), -1)[:, :CLASSES]
    return x, y


def residual(norm=True, depth=4):
    seeded()
    x = keras.Input((12, 12, 1))
    h = layers.Conv2D(16, 3, padding="same", kernel_initializer="he_normal")(x)
    for _ in range(depth):
        r = layers.BatchNormalization()(h) if norm else layers.LayerNormalization()(h)
        r = layers.Conv2D(16, 3, padding="same", kernel_initializer="he_normal")(
            layers.Activation("relu")(r)
        )
        h = layers.Add()([h, r])
    h = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(h))
    model = keras.Model(x, layers.Dense(CLASSES, "softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def mobile():
    seeded()
    x = keras.Input((12, 12, 1))
    h = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    h = layers.ReLU(6.0)(layers.BatchNormalization()(h))
    for _ in range(3):
        h = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(h)
        h = layers.ReLU(6.0)(layers.BatchNormalization()(h))
        h = layers.Conv2D(24, 1, use_bias=False)(h)
        h = layers.ReLU(6.0)(layers.BatchNormalization()(h))
    h = layers.GlobalAveragePooling2D()(h)
    model = keras.Model(x, layers.Dense(CLASSES, "softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def transformer(blocks=2):
    seeded()
    x = keras.Input((10,), dtype="int32")
    h = layers.Embedding(30, 16)(x)
    for _ in range(blocks):
        a = layers.LayerNormalization()(h)
        h = h + layers.MultiHeadAttention(2, 8, dropout=0.1)(a, a)
        a = layers.LayerNormalization()(h)
        h = h + layers.Dense(16)(layers.Dense(32, "gelu")(a))
    h = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(h))
    model = keras.Model(x, layers.Dense(CLASSES, "softmax")(h))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def sequences():
    rng = np.random.default_rng(3)
    y = rng.integers(0, CLASSES, ROWS)
    x = rng.integers(0, 6, (ROWS, 10)) + 6 * y[:, None]
    return x.astype("int32"), y.astype("int32")


def series():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(ROWS, 12, 3)).astype("float32")
    return x, x[:, :, 0].sum(axis=1, keepdims=True).astype("float32") / 4


def recurrent(kind):
    seeded()
    model = keras.Sequential([keras.Input((12, 3)), kind(16), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def autoencoder():
    seeded()
    he = "he_normal"
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(16, "relu", kernel_initializer=he),
            layers.Dense(10, "relu", kernel_initializer=he),
            layers.Dense(16, "relu", kernel_initializer=he),
            layers.Dense(20),
        ]
    )
    model.compile("adam", "mse")
    return model


def regression(depth=3):
    seeded()
    hidden = [
        layers.Dense(32, "relu", kernel_initializer="he_normal") for _ in range(depth)
    ]
    model = keras.Sequential([keras.Input((20,)), *hidden, layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def regularised():
    seeded()
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(
                32,
                "relu",
                kernel_initializer="he_normal",
                kernel_regularizer=keras.regularizers.L2(1e-3),
            ),
            layers.Dropout(0.3),
            layers.Dense(32, "elu", kernel_initializer="he_normal"),
            layers.Dropout(0.3),
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def regularised_with_norm():
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(16, kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5, seed=4),
            keras.layers.Dense(4, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def rescaled():
    seeded()
    model = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, activation="relu", kernel_initializer="he_normal"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def binary():
    seeded()
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(16, "swish", kernel_initializer="he_normal"),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return model


def recipe(make, depth, x):
    seeded()
    model = make([32] * depth, n_classes=CLASSES, data=x)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def healthy():
    """A name, a function that makes the model, and its data."""
    mlp, cnn = digits("mlp"), digits("cnn")
    lecun = "lecun_normal"
    yield "dense, 2", lambda: network(depth=2), mlp
    yield "dense, 5", lambda: network(depth=5), mlp
    yield "dense, 10", lambda: network(depth=10), mlp
    yield (
        "dense, Keras's defaults",
        lambda: network(depth=3, initializer="glorot_uniform"),
        mlp,
    )
    yield (
        "dense, tanh",
        lambda: network(depth=5, activation="tanh", initializer="glorot_normal"),
        mlp,
    )
    yield (
        "dense, ours",
        lambda: network(
            depth=5,
            activation="elu",
            initializer=initializers.for_activation("elu"),
            optimizer=AdamW(),
        ),
        mlp,
    )
    yield "dense, batch norm", lambda: network(depth=10, norm=True), mlp
    yield (
        "self-normalising, 5",
        lambda: network(depth=5, activation="selu", initializer=lecun),
        mlp,
    )
    yield (
        "self-normalising, 20",
        lambda: network(depth=20, activation="selu", initializer=lecun),
        mlp,
    )
    yield "dense, logits", lambda: network(output=None, loss=from_logits()), mlp
    yield "convolutions, 2", lambda: network("cnn", depth=2), cnn
    yield "convolutions, 5", lambda: network("cnn", depth=5), cnn
    yield "convolutions, batch norm", lambda: network("cnn", depth=8, norm=True), cnn
    yield "residual, 4", residual, cnn
    yield "residual, 12", lambda: residual(depth=12), cnn
    yield "mobile", mobile, cnn
    yield "transformer", transformer, sequences()
    yield "autoencoder", autoencoder, (mlp[0], mlp[0])
    yield "LSTM", lambda: recurrent(layers.LSTM), series()
    yield "GRU", lambda: recurrent(layers.GRU), series()
    yield "regression", regression, (mlp[0], mlp[0][:, :1] + mlp[0][:, 1:2])
    yield "regularised", regularised, mlp
    yield "rescaled", rescaled, spoiled("cnn", "bytes")
    yield "binary", binary, (mlp[0], (mlp[1] > 1).astype("float32"))
    yield "deep_network", lambda: recipe(recipes.deep_network, 4, mlp[0]), mlp
    snn = recipes.self_normalizing_network
    yield "self_normalizing_network", lambda: recipe(snn, 8, mlp[0]), mlp
