"""Losses that come another way than through `compile(loss=)`."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

from tests.zoo.arrays import classes, numbers
from tests.zoo.model_case import Data, zoo_model


class OwnComputeLoss(keras.Model):
    """Overrides `compute_loss` with fewer arguments than Keras gives it."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
    ) -> Any:
        loss = ops.mean(ops.square(y - y_pred)) + ops.sum(self.losses)
        return loss + 0.01 * ops.mean(ops.abs(y_pred))


@zoo_model(lambda: Data(numbers(6), numbers(1)))
def own_compute_loss() -> keras.Model:
    """An own `compute_loss`, without its argument `training`."""
    inputs = keras.Input((6,))
    x = layers.Dropout(0.2)(layers.Dense(8, activation="relu")(inputs))
    outputs = layers.Dense(1, kernel_regularizer="l2")(x)
    model = OwnComputeLoss(inputs, outputs)
    model.compile("adam")
    return model


class Reconstruction(layers.Layer):
    """Adds the error of the reconstruction as a loss."""

    def call(self, inputs: Any) -> Any:
        wanted, given = inputs
        self.add_loss(ops.mean(ops.square(wanted - given)))
        return given


@zoo_model(lambda: Data(numbers(6)))
def add_loss_alone() -> keras.Model:
    """An autoencoder whose only loss is added by a layer: no targets."""
    inputs = keras.Input((6,))
    x = layers.Dropout(0.1)(layers.Dense(3, activation="tanh")(inputs))
    outputs = Reconstruction()([inputs, layers.Dense(6)(x)])
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam")
    return model


class LogisticEndpoint(layers.Layer):
    """The endpoint layer of Keras's guide: takes targets, adds loss and metric."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)
        self.accuracy = keras.metrics.BinaryAccuracy(name="accuracy")

    def call(self, logits: Any, targets: Any = None, sample_weight: Any = None) -> Any:
        if targets is not None:
            self.add_loss(self.loss_fn(targets, logits, sample_weight))
            self.accuracy.update_state(targets, logits, sample_weight)
        return ops.softmax(logits)


@zoo_model(lambda: Data({"inputs": numbers(3), "targets": numbers(4).round() % 2}))
def endpoint_layer() -> keras.Model:
    """Targets as an input: an endpoint layer makes the loss and the metric."""
    inputs = keras.Input((3,), name="inputs")
    targets = keras.Input((4,), name="targets")
    logits = layers.Dense(4)(layers.Dropout(0.1)(inputs))
    predictions = LogisticEndpoint(name="predictions")(logits, targets)
    model = keras.Model({"inputs": inputs, "targets": targets}, predictions)
    model.compile(optimizer="sgd")
    return model


class CTCLayer(layers.Layer):
    """Adds the CTC loss of labels and frames, as in keras-io's captcha reader."""

    def call(self, labels: Any, frames: Any) -> Any:
        rows = ops.shape(labels)[0]
        lengths = [
            ops.full((rows,), ops.shape(t)[1], "int32") for t in (labels, frames)
        ]
        labels = ops.cast(labels, "int32")
        self.add_loss(ops.mean(ops.ctc_loss(labels, frames, *lengths, mask_index=0)))
        return frames


@zoo_model(lambda: Data({"audio": numbers(8, 3), "label": 1 + classes(4, 2)}))
def ctc_layer() -> keras.Model:
    """A reader with its CTC loss in a layer that takes the labels."""
    audio = keras.Input((8, 3), name="audio")
    label = keras.Input((2,), name="label")
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(audio)
    x = layers.Dense(5, name="frames")(layers.Dropout(0.2)(x))
    model = keras.Model([audio, label], CTCLayer()(label, x))
    model.compile(optimizer="sgd")
    return model


@zoo_model(lambda: Data(numbers(8, 3), 1 + classes(4, 2)))
def ctc_loss() -> keras.Model:
    """A speech recognizer compiled with Keras's own CTC loss."""
    inputs = keras.Input((8, 3))
    x = layers.Conv1D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.2)(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(5)(x))
    model.compile("adam", keras.losses.CTC())
    return model


def negative_log_likelihood(y_true: Any, y_pred: Any) -> Any:
    mean, log_deviation = tf.split(y_pred, 2, axis=-1)
    scaled = (y_true - mean) * tf.exp(-log_deviation)
    return tf.reduce_mean(0.5 * tf.square(scaled) + log_deviation, axis=-1)


@zoo_model(lambda: Data(numbers(6), numbers(1)))
def loss_function() -> keras.Model:
    """A plain function as loss: the likelihood of a mean and a deviation."""
    inputs = keras.Input((6,))
    x = layers.Dense(8, activation="softplus", activity_regularizer="l2")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Dropout(0.1)(x)))
    model.compile("adam", negative_log_likelihood)
    return model
