"""Small data with something to learn, each from a random generator."""

import functools
import runpy
from pathlib import Path

import numpy as np

ROWS = 640


@functools.cache
def _fashion_mnist():
    root = Path(__file__).resolve().parents[2]
    return runpy.run_path(str(root / "examples" / "fashion_mnist.py"))["load"]()[0]


def fashion(rng, rows=ROWS, classes=10):
    """Real pictures of 28 x 28 pixels from 0 to 1, and their class."""
    x, y = _fashion_mnist()
    chosen = rng.permutation(np.flatnonzero(y < classes))[:rows]
    return x[chosen], y[chosen]


def small_fashion(rng, rows=ROWS, classes=10):
    """The same at 14 x 14 pixels."""
    x, y = fashion(rng, rows, classes)
    return x.reshape(rows, 14, 2, 14, 2, 1).mean(axis=(2, 4)), y


def flowers(rng, rows=ROWS, size=16, classes=4):
    """Coloured blobs on a noisy ground; position, size and brightness vary."""
    y = rng.integers(0, classes, rows)
    colours = np.random.default_rng(3).uniform(0.2, 1.0, (classes, 3))
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    centre = rng.uniform(size / 4, 3 * size / 4, (rows, 1, 1, 2))
    radius = (
        rng.uniform(size / 8, size / 4, (rows, 1, 1))
        * (1 + 0.3 * (y % 2))[:, None, None]
    )
    mask = (((grid - centre) ** 2).sum(axis=-1) < radius**2).astype("float32")
    noise = rng.uniform(0, 0.4, (rows, size, size, 3))
    light = rng.uniform(0.6, 1.0, (rows, 1, 1, 1))
    x = (
        noise * (1 - mask[..., None])
        + light * colours[y][:, None, None] * mask[..., None]
    )
    return x.astype("float32"), y.astype("int32"), mask[..., None]


def columns(rng, rows=ROWS, features=10, classes=3):
    """Standardised columns and a class that a curved rule gives."""
    rule = np.random.default_rng(4)
    x = rng.normal(size=(rows, features))
    hidden = np.tanh(x @ rule.normal(size=(features, 12)) / np.sqrt(features) * 1.5)
    scores = hidden @ rule.normal(size=(12, classes))
    scores += 0.3 * rng.normal(size=scores.shape)
    return x.astype("float32"), scores.argmax(axis=1).astype("int32")


def curve(rng, rows=ROWS, features=6):
    """Standardised columns and a number of mean 0 and deviation 1 to predict."""
    x = rng.normal(size=(rows, features))
    y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.5 * x[:, 3]
    y = (y + 0.1 * rng.normal(size=rows)) / 1.35
    return x.astype("float32"), y[:, None].astype("float32")


def houses(rng, rows=ROWS):
    """Raw columns (area, rooms, year, kilometres, income) and a price in thousands."""
    area = rng.lognormal(4.6, 0.4, rows)
    rooms = np.clip(np.round(area / 30 + rng.normal(0, 0.7, rows)), 1, 9)
    year = rng.integers(1900, 2024, rows)
    distance = rng.exponential(8, rows)
    income = rng.lognormal(10.6, 0.4, rows)
    price = 1.8 * area + 12 * rooms + 0.6 * (year - 1900) - 4 * distance + income / 900
    price += rng.normal(0, 12, rows)
    x = np.stack([area, rooms, year, distance, income], axis=1)
    return x.astype("float32"), price[:, None].astype("float32")


def standardised(x):
    """Mean 0 and deviation 1 for every column."""
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype("float32")


def waves(rng, rows=ROWS, length=32, channels=1, classes=3):
    """Noisy sine waves; their frequency is their class."""
    y = rng.integers(0, classes, rows)
    t = np.arange(length)[None, :, None]
    phase = rng.uniform(0, 2 * np.pi, (rows, 1, channels))
    x = np.sin(2 * np.pi * (2 + 2 * y[:, None, None]) * t / length + phase)
    x = 1.2 * x + 0.4 * rng.normal(size=x.shape)
    return x.astype("float32"), y.astype("int32")


def forecast(rng, rows=ROWS, length=24):
    """Windows of a noisy periodic series and its next value."""
    t = np.arange(rows + length + 1)
    series = np.sin(t / 3) + 0.5 * np.sin(t / 7) + 0.1 * rng.normal(size=t.shape)
    series = (series - series.mean()) / series.std()
    x = np.stack([series[i : i + length] for i in range(rows)])[..., None]
    y = series[length : length + rows, None]
    order = rng.permutation(rows)
    return x[order].astype("float32"), y[order].astype("float32")


def reviews(rng, rows=ROWS, length=16, words=100, classes=2):
    """Sentences of word numbers from 1, padded with 0; a few words give the class."""
    y = rng.integers(0, classes, rows)
    x = rng.integers(1 + 5 * classes, words, (rows, length))
    telling = rng.random((rows, length)) < 0.3
    x = np.where(telling, 1 + 5 * y[:, None] + rng.integers(0, 5, (rows, length)), x)
    lengths = rng.integers(length // 2, length + 1, (rows, 1))
    return np.where(np.arange(length) < lengths, x, 0).astype("int32"), y.astype(
        "int32"
    )


def sentences(rng, rows=ROWS, length=16, words=24):
    """Word numbers in which each follows from the one before, nine times in ten."""
    after = np.random.default_rng(5).permutation(words)
    text = rng.integers(0, words, (rows, length + 1))
    for place in range(1, length + 1):
        follows = rng.random(rows) < 0.9
        text[:, place] = np.where(follows, after[text[:, place - 1]], text[:, place])
    return text[:, :-1].astype("int32"), text[:, 1:].astype("int32")


def graphs(rng, rows=ROWS, nodes=10, features=4):
    """Node features, normalised adjacency, and whether a graph is dense."""
    y = rng.integers(0, 2, rows)
    chance = np.where(y, 0.5, 0.25)[:, None, None]
    edges = np.triu(rng.random((rows, nodes, nodes)) < chance, 1)
    adjacency = (edges | edges.transpose(0, 2, 1)).astype("float32")
    degree = adjacency.sum(axis=2, keepdims=True)
    x = rng.normal(size=(rows, nodes, features))
    x[..., :1] = (degree - 3.4) / 1.8
    adjacency = (adjacency + np.eye(nodes)) / (degree + 1)
    return x.astype("float32"), adjacency.astype("float32"), y.astype("float32")
