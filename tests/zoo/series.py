"""Series: recurrent, convolutional and stateful models."""

import keras
from keras import layers

from tests.zoo.arrays import ROWS, classes, numbers
from tests.zoo.model_case import Data, zoo_model

LENGTH = 5


def series() -> Data:
    return Data(numbers(LENGTH, 3), numbers(1))


@zoo_model(series)
def forecaster() -> keras.Model:
    """Two stacked LSTMs that predict the next value of a series."""
    model = keras.Sequential(
        [
            keras.Input((LENGTH, 3)),
            layers.LSTM(6, return_sequences=True),
            layers.Dropout(0.2),
            layers.LSTM(4),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@zoo_model(series)
def recurrent_dropout() -> keras.Model:
    """A bidirectional GRU with recurrent dropout."""
    inputs = keras.Input((None, 3))
    gru = layers.GRU(4, dropout=0.2, recurrent_dropout=0.3)
    x = layers.Bidirectional(gru)(inputs)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("sgd", "mse")
    return model


@zoo_model(lambda: Data(numbers(3, 6, 6, 1), numbers(6, 6, 1, seed=4)))
def conv_lstm() -> keras.Model:
    """The next frame of a video: a convolutional LSTM and a batch norm."""
    inputs = keras.Input((None, 6, 6, 1))
    x = layers.ConvLSTM2D(3, 3, padding="same", dropout=0.1)(inputs)
    x = layers.BatchNormalization()(x)
    model = keras.Model(inputs, layers.Conv2D(1, 3, padding="same")(x))
    model.compile("sgd", "mse")
    return model


@zoo_model(lambda: Data(numbers(LENGTH, 6, 1), classes(2, LENGTH)))
def time_distributed() -> keras.Model:
    """Layers and a model applied to each step, and a label for each step."""
    step = keras.Sequential(
        [
            keras.Input((6, 1)),
            layers.Conv1D(4, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
        ]
    )
    inputs = keras.Input((LENGTH, 6, 1))
    x = layers.TimeDistributed(step)(inputs)
    x = layers.TimeDistributed(layers.Dropout(0.3))(x)
    x = layers.LSTM(4, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(2, activation="softmax"))(x)
    model = keras.Model(inputs, x)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@zoo_model(
    lambda: Data(
        numbers(LENGTH, 3),
        numbers(1),
        fit={"batch_size": ROWS // 4, "shuffle": False},
        evaluate={"batch_size": ROWS // 4},
    ),
    random_at_inference=True,
    note="each call of predict goes on from the state that the last one left",
)
def stateful_series() -> keras.Model:
    """A stateful LSTM, whose state goes on from batch to batch."""
    inputs = keras.Input(batch_shape=(ROWS // 4, LENGTH, 3))
    x = layers.LSTM(4, stateful=True)(inputs)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.compile("adam", "mse")
    return model


@zoo_model(lambda: Data(numbers(8, 2), numbers(8, 1)))
def dilated_convolutions() -> keras.Model:
    """Causal dilated convolutions with gates and skips, as in WaveNet."""
    inputs = keras.Input((None, 2))
    x = layers.Conv1D(4, 1)(inputs)
    skips = []
    for dilation in (1, 2):
        conv = {"padding": "causal", "dilation_rate": dilation}
        tanh = layers.Conv1D(4, 2, activation="tanh", **conv)(x)
        gate = layers.Conv1D(4, 2, activation="sigmoid", **conv)(x)
        gated = layers.SpatialDropout1D(0.1)(layers.Multiply()([tanh, gate]))
        skips.append(layers.Conv1D(4, 1)(gated))
        x = layers.Add()([x, skips[-1]])
    x = layers.ReLU()(layers.Add()(skips))
    model = keras.Model(inputs, layers.Conv1D(1, 1)(x))
    model.compile("sgd", "mse")
    return model
