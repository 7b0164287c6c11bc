"""Pretraining that trains the model itself as its encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dnn import pretraining
from tests.zoo.battery import operation
from tests.zoo.subject import Subject, layers_in, own_randomness

GROUP = "pretraining"
Use = Callable[[Subject], None]
ROWS = 8


def pretrains(*names: str) -> Callable[[Use], Use]:
    """Enters an operation; the layers that it builds may draw random numbers."""

    def enter(run: Use) -> Use:
        operation(GROUP, *names)(own_randomness()(run))
        return run

    return enter


def examples(subject: Subject) -> Any:
    """Some rows; sparse tensors cannot be divided."""
    inputs = subject.graph_inputs
    if isinstance(inputs, list) and len(inputs) == 1:
        (inputs,) = inputs
    return keras.tree.map_structure(
        lambda a: a if isinstance(a, tf.SparseTensor) else a[:ROWS], inputs
    )


def from_vector(subject: Subject, width: int | None = None) -> keras.Sequential:
    """Layers that make arrays like the model's inputs from vectors."""
    shape = tuple(keras.tree.flatten(subject.graph_inputs)[0].shape[1:])
    if None in shape:  # Ragged: they have no shape of their own.
        shape = (4,)
    return keras.Sequential(
        [
            *([] if width is None else [keras.Input((width,))]),
            keras.layers.Flatten(),
            keras.layers.Dense(int(np.prod(shape))),
            keras.layers.Reshape(shape),
        ]
    )


def assert_trains(encoder: keras.Model, model: keras.Model, loss: Any, x: Any) -> None:
    """A step changes weights of the encoder; without a row there is no step."""
    if isinstance(x, np.ndarray) and not len(x):
        return
    before = [v.numpy() for v in encoder.trainable_variables]
    # Keras calls layers in float8 in graphs only.
    eagerly = all(layer.quantization_mode != "float8" for layer in layers_in(encoder))
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=eagerly)
    with own_randomness():
        history = model.fit(x, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    after = [v.numpy() for v in encoder.trainable_variables]
    changed = any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    # A batch norm of a single row gives zeros, whatever comes before it.
    assert changed or (isinstance(x, np.ndarray) and len(x) == 1)


@pretrains("pretraining.autoencoder")
def autoencoder(subject: Subject) -> None:
    encoder = subject.fresh()
    model = pretraining.autoencoder(encoder, from_vector(subject), noise=0.1, seed=1)
    assert_trains(encoder, model, "mse", examples(subject))


@pretrains("pretraining.stacked_autoencoder")
def stacked_autoencoder(subject: Subject) -> None:
    encoder = subject.fresh()
    for model in pretraining.stacked_autoencoder(encoder, seed=1):
        assert_trains(encoder, model, "mse", examples(subject))


@pretrains("pretraining.masking")
def masking(subject: Subject) -> None:
    encoder = subject.fresh()
    model = pretraining.masking(encoder, from_vector(subject), seed=1)
    assert_trains(encoder, model, "mse", examples(subject))


@pretrains("pretraining.rotation")
def rotation(subject: Subject) -> None:
    encoder = subject.fresh()
    model = pretraining.rotation(encoder, seed=1)
    loss = "sparse_categorical_crossentropy"
    assert_trains(encoder, model, loss, examples(subject))


@pretrains("pretraining.siamese", "pretraining.Pairs")
def siamese(subject: Subject) -> None:
    encoder = subject.fresh()
    model = pretraining.siamese(encoder)
    x = examples(subject)
    labels = np.arange(len(x)) % 2 if isinstance(x, np.ndarray) else np.arange(ROWS) % 2
    pairs = pretraining.Pairs(x, labels, ROWS, seed=1)
    assert_trains(encoder, model, "binary_crossentropy", pairs)


@pretrains("pretraining.gan")
def gan(subject: Subject) -> None:
    discriminator = subject.fresh()
    model = pretraining.gan(from_vector(subject, 3), discriminator, seed=1)
    activation = getattr(discriminator.layers[-1], "activation", None)
    logits = activation is not keras.activations.sigmoid
    loss = keras.losses.BinaryCrossentropy(from_logits=logits)
    assert_trains(discriminator, model, loss, examples(subject))
