"""What probes add to an epoch of an MLP, two convolutional networks and a transformer.

Each variant is a separate training that pauses between epochs; each round runs one
epoch of every variant. The first epoch, which traces the step, is not counted. The loop
is that of `fit`.

GradientNorms costs at least the memory it moves: each gradient read once for its norm;
for the ratio each weight copied before the step, the copy read for its norm, and both
read for the norm of the update: 24 bytes for each float32 parameter, 4 without ratios.
MaxNorm reads each weight for its norm and reads and writes it once, 12 bytes. The
Doctor reads each gradient once for NaN, 4 bytes, and does what GradientNorms does at
every sixteenth step. For each network the script prints how long that takes at the
speed of a copy, as a fraction of the step, and both processor time and wall-clock time:
on a busy machine processor time varies less.
"""

import math
import time

import keras
import numpy as np
import tensorflow as tf
from interleaved import Timings, copy_bandwidth, machine

from keras_dnn.callbacks import Doctor, GradientNorms, MaxNorm
from keras_dnn.optimizers import Nesterov

layers = keras.layers


def mlp():
    """A textbook network for MNIST."""
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


def deeper():
    """More arithmetic for each weight, as most networks have."""
    convolutions = [
        layers.Conv2D(32, 3, padding="same", activation="relu") for _ in range(3)
    ]
    return [
        keras.Input((32, 32, 3)),
        *convolutions,
        layers.MaxPooling2D(4),
        layers.Flatten(),
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


def now():
    """Wall-clock time, and processor time of all cores together."""
    return np.array([time.perf_counter(), time.process_time()])


class Training:
    """A training that runs for one more epoch whenever it is called."""

    def __init__(self, model, x, y, probes):
        self.model = model
        self.steps = len(x) // 64
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)
        self.batches = iter(batches.repeat().prefetch(2))
        self.callbacks = keras.callbacks.CallbackList(
            probes, add_history=True, model=model, epochs=1000, steps=self.steps
        )
        model.make_train_function()
        self.callbacks.on_train_begin()
        self.epoch = 0

    def __call__(self):
        begun = now()
        self.callbacks.on_epoch_begin(self.epoch)
        for step in range(self.steps):
            self.callbacks.on_train_batch_begin(step)
            logs = self.model.train_function(self.batches)
            self.callbacks.on_train_batch_end(step, logs)
        self.callbacks.on_epoch_end(self.epoch, logs)
        self.epoch += 1
        return now() - begun


def variants(network, rows):
    """A training for each variant, all with the same weights and data."""
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
        return Training(model, x, y, make())

    return {name: trainer(name, make) for name, make in probes.items()}


def parameters(network):
    made = network()
    model = keras.Sequential(made) if isinstance(made, list) else made
    return sum(math.prod(v.shape) for v in model.trainable_variables)


print(machine())
bandwidth = copy_bandwidth()
for network, steps, rounds in (
    (mlp, 128, 40),
    (cnn, 32, 12),
    (deeper, 12, 9),
    (transformer, 16, 12),
):
    epochs = variants(network, 64 * steps)
    seconds = np.empty((rounds + 1, len(epochs), 2))
    order = list(enumerate(epochs.values()))
    for row in seconds:
        for i, epoch in order:
            row[i] = epoch()
        order.reverse()
    print(f"\n{network.__name__}, an epoch of {steps} steps of 64")
    print(Timings(tuple(epochs), seconds[1:, :, 0]))
    print("processor time, all cores together")
    print(Timings(tuple(epochs), seconds[1:, :, 1]))
    step = np.median(seconds[1:, 0, 0]) / steps
    for what, moved in (("norms", 4), ("norms and ratios", 24), ("MaxNorm", 12)):
        fraction = moved * parameters(network) / bandwidth / step
        print(
            f"memory that {what} move, at {bandwidth / 1e9:.0f} GB/s: "
            f"{fraction:.3f} of the step"
        )
