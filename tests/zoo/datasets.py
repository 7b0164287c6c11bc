"""Data that are not arrays in memory: tf.data, PyDataset, generators, strings."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.zoo.arrays import ROWS, classes, numbers, tokens
from tests.zoo.model_case import Data, zoo_model


def streamed(data: Any, steps: int | None = None) -> Data:
    """Data whose order Keras cannot change; it warns unless `shuffle` is False."""
    if steps is None:
        return Data(data, fit={"shuffle": False})
    fit = {"shuffle": False, "steps_per_epoch": steps}
    return Data(data, fit=fit, evaluate={"steps": steps})


def compiled(inputs: Any, features: Any) -> keras.Model:
    x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(features))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dataset_of_features() -> Data:
    x = {"age": numbers(1), "name": np.array(["ann", "bob", "eve", "x"] * (ROWS // 4))}
    return streamed(tf.data.Dataset.from_tensor_slices((x, classes(2))).batch(8))


@zoo_model(dataset_of_features)
def dataset_of_dicts() -> keras.Model:
    """A tf.data set of dicts of numbers and strings, looked up inside the model."""
    inputs = {
        "age": keras.Input((1,), name="age"),
        "name": keras.Input((1,), name="name", dtype="string"),
    }
    name = layers.StringLookup(vocabulary=["ann", "bob", "eve"], output_mode="one_hot")
    features = layers.Concatenate()([inputs["age"], name(inputs["name"])])
    return compiled(inputs, features)


def sentences() -> Data:
    words = np.random.default_rng(0).choice(["good", "bad", "film", "no"], (ROWS, 3))
    x = np.array([" ".join(row) for row in words])
    return streamed(tf.data.Dataset.from_tensor_slices((x, classes(2))).batch(8))


@zoo_model(sentences)
def text_vectorization() -> keras.Model:
    """Strings as input: TextVectorization is the first layer of the model."""
    words = ["good", "bad", "film"]
    split = layers.TextVectorization(output_sequence_length=4, vocabulary=words)
    inputs = keras.Input((), dtype="string")
    x = layers.Embedding(5, 4, mask_zero=True)(split(inputs))
    return compiled(inputs, layers.GlobalAveragePooling1D()(x))


def ragged_sentences() -> Data:
    padded = tokens(7, 20)
    rows = tf.RaggedTensor.from_tensor(padded, lengths=(padded > 0).sum(axis=1))
    return streamed(tf.data.Dataset.from_tensor_slices((rows, classes(2))).batch(8))


@zoo_model(ragged_sentences)
def ragged_text() -> keras.Model:
    """Ragged sentences of a tf.data set, padded by the first layer."""
    inputs = keras.Input((None,), dtype="int32", ragged=True)
    x = layers.Lambda(lambda words: words.to_tensor(), output_shape=(None,))(inputs)
    x = layers.Embedding(20, 4, mask_zero=True)(x)
    return compiled(inputs, layers.GlobalAveragePooling1D()(x))


def sparse_rows() -> Data:
    dense = numbers(12) * (numbers(12, seed=7) > 1)
    data = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(dense), classes(2)))
    return streamed(data.batch(8))


@zoo_model(sparse_rows)
def sparse_input() -> keras.Model:
    """Sparse rows of a tf.data set, multiplied by a Dense layer."""
    inputs = keras.Input((12,), sparse=True)
    return compiled(inputs, layers.Dense(6, activation="relu")(inputs))


def unknown_length() -> Data:
    def rows() -> Iterator[tuple[np.ndarray, int]]:
        yield from zip(numbers(6), classes(2), strict=True)

    signature = tf.TensorSpec((6,)), tf.TensorSpec((), tf.int64)
    data = tf.data.Dataset.from_generator(rows, output_signature=signature)
    return streamed(data.batch(8))


@zoo_model(unknown_length)
def dataset_of_unknown_length() -> keras.Model:
    """A tf.data set made from a generator, whose number of batches nobody knows."""
    inputs = keras.Input((6,))
    return compiled(inputs, layers.BatchNormalization()(inputs))


class Batches(keras.utils.PyDataset):
    """Batches of eight rows with weights."""

    def __len__(self) -> int:
        return ROWS // 8

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = slice(8 * index, 8 * index + 8)
        return numbers(6)[rows], classes(2)[rows], np.ones(8, "float32")


@zoo_model(lambda: Data(Batches()))
def py_dataset() -> keras.Model:
    """A PyDataset that yields inputs, targets and weights."""
    inputs = keras.Input((6,))
    return compiled(inputs, inputs)


def endless_batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        for start in range(0, ROWS, 8):
            rows = slice(start, start + 8)
            yield numbers(6)[rows], classes(2)[rows]


@zoo_model(lambda: streamed(endless_batches(), 4))
def endless_generator() -> keras.Model:
    """A Python generator that never ends, with `steps_per_epoch`."""
    inputs = keras.Input((6,))
    return compiled(inputs, inputs)


def repeated() -> Data:
    rows = tf.data.Dataset.from_tensor_slices((numbers(6), classes(2)))
    data = rows.shuffle(ROWS, seed=0).batch(8, drop_remainder=True).repeat()
    return streamed(data, 4)


@zoo_model(repeated, note="each pass over the data has another order")
def infinite_dataset() -> keras.Model:
    """A shuffled tf.data set that repeats forever."""
    inputs = keras.Input((6,))
    return compiled(inputs, inputs)
