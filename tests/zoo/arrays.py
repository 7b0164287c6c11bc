"""Small arrays, the same at each call."""

import numpy as np

ROWS = 32


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers, `ROWS` rows of the given shape."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, *shape)).astype("float32")


def pixels(*shape: int) -> np.ndarray:
    """Raw pixel values from 0 to 255."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (ROWS, *shape)).astype("uint8")


def classes(number: int, *shape: int) -> np.ndarray:
    """Class indices below `number`."""
    return np.random.default_rng(2).integers(0, number, (ROWS, *shape))


def tokens(length: int, vocabulary: int, seed: int = 3) -> np.ndarray:
    """Sentences of two to `length` words, padded with zeros."""
    rng = np.random.default_rng(seed)
    words = rng.integers(1, vocabulary, (ROWS, length))
    lengths = rng.integers(2, length + 1, (ROWS, 1))
    return np.where(np.arange(length) < lengths, words, 0).astype("int32")
