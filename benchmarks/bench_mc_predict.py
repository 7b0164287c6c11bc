"""A hundred Monte Carlo samples: mc_predict compared with loops over the model.

The limit is arithmetic: the multiplications of the deterministic part once, those of
the random part once for each sample, at the speed of a large matrix product; and a
random number of sixteen bits for each unit that may be dropped. Coherent masks need
hardly any of these. Memory is bounded by the rows that are run at once, which is
measured on 20,000 images.
"""

import resource
import subprocess
import sys
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from interleaved import interleaved, machine
from keras import layers

from keras_dnn.models import mc_predict

SAMPLES = 100


class Work(NamedTuple):
    """What one image costs."""

    once: int
    """Multiplications before the first dropout."""
    each_sample: int
    """Multiplications after it."""
    masks: int
    """Units that may be dropped."""


DENSE = Work(0, 784 * 300 + 300 * 100 + 100 * 10, 784 + 300 + 100)
CONVOLUTIONAL = Work(
    28 * 28 * 9 * 32 * (1 + 64) + 14 * 14 * 9 * 64 * 64,
    3136 * 128 + 128 * 10,
    3136 + 128,
)


class AlwaysOn(layers.Dropout):
    """The layer that textbooks show."""

    def call(self, inputs):
        return super().call(inputs, training=True)


def dense_network(dropout=layers.Dropout):
    """Dropout from the first layer on: nothing to run only once."""
    return keras.Sequential(
        [
            keras.Input((784,)),
            dropout(0.2),
            layers.Dense(300, activation="relu"),
            dropout(0.2),
            layers.Dense(100, activation="relu"),
            dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def convolutional_network(dropout=layers.Dropout):
    """Dropout after the convolutions: most of the work is the same in each sample."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            dropout(0.25),
            layers.Dense(128, activation="relu"),
            dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


class Case(NamedTuple):
    """One comparison; a goal is how many times faster than a loop it should be."""

    build: object
    work: Work
    rows: int
    masks: str
    goals: dict
    rounds: int


PREDICT, EAGER, COMPILED = "loop of predict", "loop of model(x)", "loop of tf.function"
CASES = (
    Case(
        dense_network,
        DENSE,
        32,
        "independent",
        {PREDICT: 300, EAGER: 20, COMPILED: 1.8},
        7,
    ),
    Case(
        convolutional_network,
        CONVOLUTIONAL,
        8,
        "independent",
        {PREDICT: 300, EAGER: 60, COMPILED: 15},
        7,
    ),
    Case(
        convolutional_network,
        CONVOLUTIONAL,
        256,
        "independent",
        {EAGER: 60, COMPILED: 15},
        3,
    ),
    Case(dense_network, DENSE, 2000, "coherent", {COMPILED: 3}, 7),
)


def multiplications_per_second():
    a, b = tf.random.normal((2048, 784)), tf.random.normal((784, 1024))
    product = interleaved({"product": lambda: tf.matmul(a, b).numpy()}, rounds=10)
    return 2048 * 784 * 1024 / product.seconds.min()


def random_numbers_per_second():
    """Of sixteen bits, two in a word."""

    @tf.function
    def draw(seed):
        words = tf.random.stateless_uniform(
            [2**21], seed, None, None, tf.uint32, alg="philox"
        )
        return tf.reduce_max(tf.bitcast(words, tf.uint16))

    drawn = interleaved({"draw": lambda: draw(tf.constant([1, 2])).numpy()}, rounds=10)
    return 2**22 / drawn.seconds.min()


def measure(case, multiplications, draws):
    keras.utils.set_random_seed(0)
    model, rows = case.build(), case.rows
    always_on = case.build(AlwaysOn)
    always_on.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(rows, *model.input_shape[1:]))
    x = x.astype("float32")
    compiled = tf.function(always_on)

    def stacked(predict):
        samples = np.stack([predict(x) for _ in range(SAMPLES)])
        return samples.mean(0), samples.std(0)

    loops = {
        PREDICT: lambda: stacked(lambda x: always_on.predict(x, verbose=0)),
        EAGER: lambda: stacked(always_on),
        COMPILED: lambda: stacked(compiled),
    }

    def ours():
        prediction = mc_predict(
            model, x, SAMPLES, batch_size=rows, masks=case.masks, verbose=0
        )
        return prediction.mean, prediction.std

    for one, other in zip(
        *(np.mean([f() for _ in range(10)], axis=0) for f in (ours, loops[COMPILED])),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=0.03)

    print(f"\n{case.build.__name__}, {rows} inputs, {SAMPLES} {case.masks} samples")
    print(case.build.__doc__)
    calls = {"mc_predict": ours} | {name: loops[name] for name in case.goals}
    timings = interleaved(calls, rounds=case.rounds, warmup=1)
    print(timings)
    for name, (_, ratio, _) in list(zip(calls, timings.ratios, strict=True))[1:]:
        goal = case.goals[name]
        reached = "reached" if ratio >= goal else "MISSED"
        print(f"{name}: {ratio:.1f} times; the goal of {goal} is {reached}")
    once, each_sample, masks = case.work
    arithmetic = rows * (once + SAMPLES * each_sample) / multiplications
    numbers = SAMPLES * masks * (1 if case.masks == "coherent" else rows) / draws
    taken = timings.medians[0]
    print(
        f"arithmetic limit {1e3 * arithmetic:.1f} ms, {arithmetic / taken:.0%} of it; "
        f"with random numbers {1e3 * (arithmetic + numbers):.1f} ms, "
        f"{(arithmetic + numbers) / taken:.0%}"
    )


def memory(rows):
    """Megabytes beyond the input at the peak of a call, in a process of its own."""
    model = convolutional_network()
    x = np.random.default_rng(0).normal(size=(rows, 28, 28, 1)).astype("float32")
    mc_predict(model, x[:32], 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mc_predict(model, x, SAMPLES, verbose=0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    if sys.argv[1:] == ["--memory"]:
        print(memory(20_000))
        sys.exit()
    print(machine())
    speeds = multiplications_per_second(), random_numbers_per_second()
    print(
        f"{speeds[0] / 1e9:.0f} multiplications and {speeds[1] / 1e9:.2f} random "
        "numbers a nanosecond"
    )
    for case in CASES:
        measure(case, *speeds)
    found = subprocess.run(
        [sys.executable, __file__, "--memory"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(
        f"\nmemory beyond the input, 20,000 images: "
        f"{float(found.stdout.split()[-1]):.0f} MB; the goal is 600"
    )
