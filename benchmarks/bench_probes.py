"""What probes cost an epoch: an MLP, a convolutional network and a small transformer.

Each round trains every variant for two epochs and takes the second one's time, so that
the trace, which each `fit` with a probe makes anew, is not counted; it is told apart.

The least that GradientNorms can cost is the memory it moves: each gradient read once
for its norm, each weight copied before the step and read with its copy for the ratio,
20 bytes for each float32 parameter. MaxNorm reads each weight for its norm and reads
and writes it once, 12 bytes. The Doctor reads each gradient once for NaN, 4 bytes, and
does what GradientNorms does at every sixteenth step.
"""

import time

import keras
import numpy as np
from interleaved import Timings, machine

from keras_dnn.callbacks import Doctor, GradientNorms, MaxNorm
from keras_dnn.optimizers import Nesterov

ROUNDS = 12
layers = keras.layers


def mlp():
    """The notes' network for MNIST."""
    hidden = [layers.Dense(n, activation="relu") for n in (300, 100)]
    return [keras.Input((784,)), *hidden, layers.Dense(10, activation="softmax")]


def cnn():
    return [
        keras.Input((28, 28, 1)),
        layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]


def transformer():
    tokens = keras.Input((64,), dtype="int32")
    x = layers.Embedding(1000, 64)(tokens)
    for _ in range(2):
        attention = layers.MultiHeadAttention(4, 16)
        x = layers.LayerNormalization()(x + attention(x, x))
        hidden = layers.Dense(128, activation="relu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(64)(hidden))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(10, activation="softmax")(x))


class Stopwatch(keras.callbacks.Callback):
    """Times each epoch, callbacks that come before this one included."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


def variants(network, rows):
    """A trainer of one epoch for each variant, all of the same weights and data."""
    rng = np.random.default_rng(0)
    probes = {
        "no probe": list,
        "GradientNorms": lambda: [GradientNorms()],
        "... without ratios": lambda: [GradientNorms(ratios=False)],
        "Doctor": lambda: [Doctor(verbose=0)],
        "MaxNorm": lambda: [MaxNorm(1.0)],
        "... by Keras": list,
    }

    def trainer(name, make):
        keras.utils.set_random_seed(0)
        made = network()
        model = keras.Sequential(made) if isinstance(made, list) else made
        if name == "... by Keras":
            for layer in model.layers:
                if hasattr(layer, "kernel"):
                    axes = list(range(len(layer.kernel.shape) - 1))
                    layer.kernel.constraint = keras.constraints.MaxNorm(1.0, axes)
        model.compile(Nesterov(0.01), "sparse_categorical_crossentropy")
        shape = model.input_shape[1:]
        integers = model.inputs[0].dtype == "int32"
        draw = rng.integers(0, 1000, (rows, *shape)) if integers else None
        x = rng.normal(size=(rows, *shape)).astype("float32") if draw is None else draw
        y = rng.integers(0, 10, rows)
        watch = Stopwatch()

        def epoch():
            model.fit(
                x, y, batch_size=64, epochs=2, verbose=0, callbacks=[*make(), watch]
            )
            return watch.seconds[1]

        return epoch

    return {name: trainer(name, make) for name, make in probes.items()}


print(machine())
for network, rows in ((mlp, 16384), (cnn, 4096), (transformer, 1024)):
    epochs = variants(network, rows)
    seconds = np.empty((ROUNDS + 1, len(epochs)))
    order = list(enumerate(epochs.values()))
    for row in seconds:
        for i, epoch in order:
            row[i] = epoch()
        order.reverse()
    print(f"\n{network.__name__}, an epoch of {rows // 64} steps of 64")
    print(Timings(tuple(epochs), seconds[1:]))
