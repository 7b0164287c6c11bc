"""What GradientNorms costs a training step.

The least it can cost is the memory it moves: each gradient read once for its norm, each
weight copied before the step and read with its copy for the ratio, 20 bytes for each
float32 parameter, about as much as a step of Nesterov.
"""

import keras
import numpy as np
from interleaved import interleaved, machine

from keras_dnn.callbacks import GradientNorms
from keras_dnn.optimizers import Nesterov

ROWS, BATCH_SIZE = 2048, 64


def network():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def epoch(**options):
    """A call that trains one epoch, always with the same trace."""
    model = network()
    model.compile(Nesterov(0.01), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 28, 28, 1)).astype("float32")
    y = rng.integers(0, 10, ROWS)
    callbacks = [GradientNorms(**options)] if options else []
    steps = {"epochs": 6, "batch_size": BATCH_SIZE, "verbose": 0, "shuffle": False}
    return lambda: model.fit(x, y, callbacks=callbacks, **steps), model


print(machine())
plain, plain_model = epoch()
probed, probed_model = epoch(ratios=True)
norms_only, _ = epoch(ratios=False)
plain(), probed()
for one, other in zip(plain_model.weights, probed_model.weights, strict=True):
    np.testing.assert_array_equal(one, other)

print("\nsix epochs of 32 steps, the new trace of the probed ones included")
print(
    interleaved(
        {"no probe": plain, "norms and ratios": probed, "norms": norms_only},
        rounds=10,
        warmup=1,
    )
)
