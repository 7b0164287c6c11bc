"""The tasks of `compare_rate_advice.py`: small networks of every common kind.

Each has its data, its network and an optimizer, and is trained for some hundred to two
thousand steps. Images are those of Fashion-MNIST, characters those of the examples'
text; the rest is drawn.
"""

import dataclasses
import functools
import runpy
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from recording import ROOT

from keras_dnn import optimizers

CLASSES = "sparse_categorical_crossentropy"


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained on what.

    Attributes:
        data: returns `(x, y), (x_test, y_test)`.
        network: returns a network with new initial weights.
        optimizer: the name of a class of `keras_dnn.optimizers`.
        batch_size: the batch size.
        epochs: the length of a training.
        loss: the loss.
        options: further arguments of the optimizer.
    """

    data: Callable[[], Any]
    network: Callable[[], keras.Model]
    optimizer: str
    batch_size: int
    epochs: int
    loss: str = CLASSES
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def adaptive(self) -> bool:
        return self.optimizer not in ("SGD", "Momentum", "Nesterov")

    def make_optimizer(self, rate: Any = 0.001, **options: Any) -> Any:
        kind = getattr(optimizers, self.optimizer)
        return kind(rate, **{**self.options, **options})

    def score(self, model: keras.Model, x: Any, y: Any) -> float:
        """Accuracy in percent, or 100 R2; NaN becomes that of a guess."""
        predicted = model.predict(x, batch_size=512, verbose=0)
        if self.loss == CLASSES:
            return 100 * float(np.mean(predicted.argmax(-1) == y))
        error = np.mean((predicted - y) ** 2) / np.mean((y - y.mean(axis=0)) ** 2)
        return 100 * float(max(0.0, 1 - error)) if np.isfinite(error) else 0.0


# Data ---------------------------------------------------------------------------------


@functools.cache
def fashion():
    return runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))["load"](
        full=True
    )


def images(rows, *, flat=True, standardised=True, seed=0, classes=range(10), test=4000):
    """Some of the images; labels count from zero."""
    (x, y), (x_test, y_test) = fashion()
    rng = np.random.default_rng(seed)
    parts = []
    for pixels, labels, size in ((x, y, rows), (x_test, y_test, test)):
        known = np.flatnonzero(np.isin(labels, list(classes)))
        chosen = rng.permutation(known)[:size]
        a = pixels[chosen]
        if standardised:
            a = (a - x.mean()) / x.std()
        parts.append(
            (a.reshape(len(a), -1) if flat else a, labels[chosen] - min(classes))
        )
    return tuple(parts)


def pixels_again(rows):
    (x, _), (x_test, _) = images(rows, standardised=False)
    return (x, x), (x_test, x_test)


def inverted(rows):
    """Images as negatives, at which a network trained on the others begins badly."""
    (x, y), (x_test, y_test) = images(rows, seed=5)
    return (-x, y), (-x_test, y_test)


def friedman(rows, *, standardised, seed=0):
    """Friedman's first function of ten inputs, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(rows + 4000, 10)).astype("float32")
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y += 10 * x[:, 3] + 5 * x[:, 4] + rng.normal(size=len(x))
    if standardised:
        y = (y - y[:rows].mean()) / y[:rows].std()
    y = y.astype("float32")[:, None]
    return (x[:rows], y[:rows]), (x[rows:], y[rows:])


def clusters(rows, *, classes=8, inputs=30, seed=0):
    """Gaussian clusters, two for each class, of unequal sizes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2 * classes, inputs))
    shares = rng.dirichlet(np.ones(2 * classes) * 3)
    which = rng.choice(2 * classes, rows + 4000, p=shares)
    x = centres[which] + 1.5 * rng.normal(size=(rows + 4000, inputs))
    x, y = x.astype("float32"), (which % classes).astype("int32")
    return (x[:rows], y[:rows]), (x[rows:], y[rows:])


def series(rows, *, length=64, classes=6, seed=0):
    """Noisy waves; the class is the frequency and whether it rises."""
    rng = np.random.default_rng(seed)
    total = rows + 3000
    y = rng.integers(0, classes, total)
    t = np.linspace(0, 1, length)
    frequency = 2 + (y % 3)[:, None] * 1.5
    chirp = (y // 3)[:, None] * 2.0
    phase = rng.uniform(0, 2 * np.pi, (total, 1))
    x = np.sin(2 * np.pi * (frequency + chirp * t) * t + phase)
    x = (x + rng.normal(0, 0.8, x.shape)).astype("float32")[..., None]
    return (x[:rows], y[:rows]), (x[rows:], y[rows:])


def tokens(rows, *, length=24, words=400, classes=5, seed=0):
    """Bags of words of which a few tell the class."""
    rng = np.random.default_rng(seed)
    total = rows + 3000
    y = rng.integers(0, classes, total)
    x = rng.integers(classes * 8, words, (total, length))
    for _ in range(4):
        x[np.arange(total), rng.integers(0, length, total)] = 8 * y + rng.integers(
            0, 8, total
        )
    return (x[:rows], y[:rows]), (x[rows:], y[rows:])


def characters(rows, *, length=24, seed=0):
    """Pieces of a text; the class is the next character."""
    text = (ROOT / "examples" / "data" / "mark.txt").read_text(encoding="utf-8").lower()
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(c) for c in text])
    starts = np.random.default_rng(seed).permutation(len(codes) - length - 1)
    parts = []
    for chosen in (starts[:rows], starts[rows : rows + 4000]):
        windows = codes[chosen[:, None] + np.arange(length + 1)]
        parts.append((windows[:, :-1], windows[:, -1]))
    return tuple(parts)


# Networks -----------------------------------------------------------------------------


def mlp(
    widths,
    *,
    inputs=784,
    outputs=10,
    activation="relu",
    norm=False,
    drop=0.0,
    initializer="he_normal",
    final="softmax",
    l2=None,
):
    body = [keras.Input((inputs,))]
    for width in widths:
        body.append(
            layers.Dense(
                width,
                use_bias=not norm,
                kernel_initializer=initializer,
                kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            )
        )
        if norm:
            body.append(layers.BatchNormalization(momentum=0.9))
        body.append(layers.Activation(activation))
        if drop:
            body.append(layers.Dropout(drop))
    return keras.Sequential([*body, layers.Dense(outputs, final)])


def cnn(*, norm=False, classes=10, filters=(12, 24)):
    body = [keras.Input((28, 28, 1))]
    for width in filters:
        body.append(
            layers.Conv2D(
                width, 3, strides=2, use_bias=not norm, kernel_initializer="he_normal"
            )
        )
        if norm:
            body.append(layers.BatchNormalization(momentum=0.9))
        body.append(layers.ReLU())
    return keras.Sequential([*body, layers.Flatten(), layers.Dense(classes, "softmax")])


def resnet():
    x = inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False)(x)
    for width in (12, 24):
        y = layers.BatchNormalization(momentum=0.9)(x)
        y = layers.ReLU()(y)
        y = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(y)
        y = layers.BatchNormalization(momentum=0.9)(y)
        y = layers.ReLU()(y)
        y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
        x = layers.Add()([y, layers.Conv2D(width, 1, strides=2, use_bias=False)(x)])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


def convnext():
    x = inputs = keras.Input((28, 28, 1))
    x = layers.LayerNormalization()(layers.Conv2D(16, 4, strides=4)(x))
    for _ in range(2):
        y = layers.DepthwiseConv2D(3, padding="same")(x)
        y = layers.LayerNormalization()(y)
        y = layers.Dense(16)(layers.Dense(48, "gelu")(y))
        x = layers.Add()([x, y])
    x = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


def attention_block(x, width, heads=2):
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
    y = layers.LayerNormalization()(x)
    return layers.Add()([x, layers.Dense(width)(layers.Dense(2 * width, "gelu")(y))])


def vit():
    inputs = keras.Input((28, 28, 1))
    x = layers.Reshape((16, 32))(layers.Conv2D(32, 7, strides=7)(inputs))
    x = layers.Add()([x, layers.Embedding(16, 32)(keras.ops.arange(16)[None])])
    for _ in range(2):
        x = attention_block(x, 32)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


def text_network(kind, *, words, classes, width=32):
    inputs = keras.Input((24,), dtype="int32")
    x = layers.Embedding(words, width)(inputs)
    if kind == "bag":
        x = layers.GlobalAveragePooling1D()(x)
    elif kind == "transformer":
        x = layers.Add()([x, layers.Embedding(24, width)(keras.ops.arange(24)[None])])
        x = layers.GlobalAveragePooling1D()(attention_block(x, width))
    else:
        x = getattr(layers, kind)(48)(x)
    return keras.Model(inputs, layers.Dense(classes, "softmax")(x))


def waves(norm=False):
    body = [keras.Input((64, 1))]
    for width in (12, 24):
        body += [layers.Conv1D(width, 7, strides=2, kernel_initializer="he_normal")]
        body += [layers.BatchNormalization(momentum=0.9)] if norm else []
        body += [layers.ReLU()]
    return keras.Sequential(
        [*body, layers.GlobalAveragePooling1D(), layers.Dense(6, "softmax")]
    )


def rows_of_images(kind):
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Reshape((28, 28)),
            getattr(layers, kind)(40),
            layers.Dense(10, "softmax"),
        ]
    )


@functools.cache
def trained_weights(kind):
    """Of networks that were trained on something else."""
    keras.utils.set_random_seed(3)
    if kind == "cnn":
        model = cnn(norm=True, filters=(16, 32), classes=5)
        (x, y), _ = images(8000, flat=False, classes=range(5))
    else:
        model = mlp([100, 100])
        (x, y), _ = images(10_000)
    model.compile("adam", CLASSES)
    model.fit(x, y, batch_size=64, epochs=3, verbose=0)
    return model.get_weights()


def fine_tuned(kind):
    """Those networks; the convolutional one has a new last layer."""
    if kind == "cnn":
        model = cnn(norm=True, filters=(16, 32), classes=5)
        last = model.layers[-1].get_weights()
        model.set_weights(trained_weights(kind))
        model.layers[-1].set_weights(last)
    else:
        model = mlp([100, 100])
        model.set_weights(trained_weights(kind))
    return model


# Tasks --------------------------------------------------------------------------------

p = functools.partial
MSE = "mse"

TASKS: dict[str, Task] = {
    "mlp, 60,000 rows": Task(p(images, 60_000), p(mlp, [128, 64]), "Nesterov", 128, 3),
    "mlp, 10 epochs": Task(p(images, 10_000), p(mlp, [128, 64]), "Adam", 64, 10),
    "mlp, 20 epochs": Task(p(images, 2_000), p(mlp, [64, 64]), "SGD", 32, 20),
    "batch norm, 10 epochs": Task(
        p(images, 20_000), p(mlp, [100] * 4, norm=True), "Nesterov", 128, 10
    ),
    "batch norm, Adam": Task(
        p(images, 10_000), p(mlp, [100] * 3, norm=True), "Adam", 64, 6
    ),
    "batch norm, SGD": Task(
        p(clusters, 10_000),
        p(mlp, [64] * 2, inputs=30, outputs=8, norm=True),
        "SGD",
        64,
        8,
    ),
    "deep mlp": Task(p(images, 10_000), p(mlp, [80] * 6), "Momentum", 64, 5),
    "selu": Task(
        p(images, 8_000),
        p(mlp, [80] * 6, activation="selu", initializer="lecun_normal"),
        "Adam",
        64,
        5,
    ),
    "dropout": Task(p(images, 10_000), p(mlp, [128, 64], drop=0.3), "RMSProp", 64, 6),
    "raw pixels": Task(
        p(images, 10_000, standardised=False), p(mlp, [128, 64]), "Momentum", 64, 6
    ),
    "large batch": Task(p(images, 20_000), p(mlp, [128, 64]), "Nadam", 512, 10),
    "small batch, l2": Task(
        p(images, 3_000), p(mlp, [64, 64], l2=1e-3), "Momentum", 16, 8
    ),
    "adagrad": Task(p(images, 10_000), p(mlp, [128, 64]), "AdaGrad", 64, 5),
    "adamw, tabular": Task(
        p(clusters, 6_000, seed=1),
        p(mlp, [64, 64], inputs=30, outputs=8),
        "AdamW",
        64,
        10,
    ),
    "cnn, Adam": Task(p(images, 8_000, flat=False), cnn, "Adam", 64, 4),
    "cnn, SGD": Task(p(images, 8_000, flat=False), cnn, "SGD", 32, 4),
    "cnn, batch norm": Task(
        p(images, 8_000, flat=False), p(cnn, norm=True), "Momentum", 64, 5
    ),
    "residual": Task(p(images, 4_000, flat=False), resnet, "Nesterov", 64, 4),
    "convnext": Task(p(images, 3_000, flat=False), convnext, "AdamW", 64, 5),
    "vit": Task(p(images, 3_000, flat=False), vit, "AdamW", 64, 5),
    "fine-tuned cnn": Task(
        p(images, 1_500, flat=False, classes=range(5, 10)),
        p(fine_tuned, "cnn"),
        "Nesterov",
        32,
        6,
    ),
    "fine-tuned mlp": Task(p(inverted, 3_000), p(fine_tuned, "mlp"), "Adam", 64, 6),
    "transformer on text": Task(
        p(characters, 12_000),
        p(text_network, "transformer", words=60, classes=60),
        "Adam",
        64,
        5,
    ),
    "gru on text": Task(
        p(characters, 8_000),
        p(text_network, "GRU", words=60, classes=60),
        "Adam",
        64,
        5,
    ),
    "bag of words": Task(
        p(tokens, 8_000),
        p(text_network, "bag", words=400, classes=5),
        "Nesterov",
        32,
        5,
    ),
    "lstm on images": Task(
        p(images, 4_000, flat=False), p(rows_of_images, "LSTM"), "Nadam", 64, 5
    ),
    "waves": Task(p(series, 6_000), waves, "Momentum", 64, 6),
    "waves, batch norm": Task(
        p(series, 6_000, seed=2), p(waves, True), "RMSProp", 64, 6
    ),
    "autoencoder": Task(
        p(pixels_again, 8_000),
        p(mlp, [128, 32, 128], outputs=784, final="sigmoid"),
        "Adam",
        64,
        6,
        MSE,
    ),
    "raw targets": Task(
        p(friedman, 6_000, standardised=False),
        p(mlp, [64, 64], inputs=10, outputs=1, final=None),
        "Adam",
        32,
        6,
        MSE,
    ),
    "raw targets, SGD": Task(
        p(friedman, 4_000, standardised=False, seed=1),
        p(mlp, [64, 64], inputs=10, outputs=1, final=None),
        "SGD",
        32,
        8,
        MSE,
    ),
    "standardised targets": Task(
        p(friedman, 6_000, standardised=True, seed=2),
        p(mlp, [64, 64], inputs=10, outputs=1, final=None),
        "Nesterov",
        32,
        6,
        MSE,
    ),
}

DRAW = 19
"""The seed of the halves."""


def choosing() -> list[str]:
    """The names of the tasks on which the rules were chosen: half of each kind."""
    rng = np.random.default_rng(DRAW)
    chosen = []
    for adaptive in (False, True):
        names = sorted(n for n, task in TASKS.items() if task.adaptive == adaptive)
        chosen += list(rng.permutation(names)[: len(names) // 2])
    return sorted(map(str, chosen))
