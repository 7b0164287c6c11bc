"""A training step over 100,000 classes: HierarchicalSoftmax or Dense with softmax.

Both are Keras models trained with `train_on_batch`, 512 units wide, on batches of 256,
with the same optimizer. Uniform targets are the worst case: 256 of them are in more
than half of all clusters. Words in a text follow Zipf's law and are in few.

The dense layer is bound by arithmetic: three products of 256 × 512 × 100,000. The
hierarchical one is bound by memory: of each cluster that occurs in the batch the
weights are read for the logits and for the gradient of the inputs, their gradient is
written, and the update reads it and reads and writes the weights. That is six times the
bytes of these weights; the rest is copies and the overhead of operations.

    python benchmarks/bench_hierarchical_softmax.py
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from interleaved import copy_bandwidth, interleaved, machine

from keras_dnn import optimizers
from keras_dnn.initializers import GlorotUniform
from keras_dnn.layers import HierarchicalCrossentropy, HierarchicalSoftmax

CLASSES, UNITS, BATCH = 100_000, 512, 256
DENSE, OURS = "Dense", "HierarchicalSoftmax"
NO_PROBABILITIES, FEWER = "no probabilities in training", "√V clusters"
GOAL = 8


def model(name, optimizer):
    keras.utils.set_random_seed(0)
    if name == DENSE:
        head = keras.layers.Dense(CLASSES, activation="softmax")
        loss = "sparse_categorical_crossentropy"
    else:
        head = HierarchicalSoftmax(
            CLASSES,
            clusters=317 if name == FEWER else None,
            probabilities_in_training=name != NO_PROBABILITIES,
        )
        loss = HierarchicalCrossentropy()
    network = keras.Sequential([keras.Input((UNITS,)), head])
    network.compile(optimizer, loss)
    return network


def batches(law, count=8):
    rng = np.random.default_rng(0)
    p = {"uniform": np.ones(CLASSES), "Zipf": 1 / np.arange(1, CLASSES + 1)}[law]
    x = rng.normal(size=(count, BATCH, UNITS)).astype("float32")
    return x, rng.choice(CLASSES, (count, BATCH), p=p / p.sum())


def step(network, x, y):
    """A call that trains on the next batch and waits for the loss."""
    turn = 0

    def call():
        nonlocal turn
        turn = (turn + 1) % len(x)
        return network.train_on_batch(x[turn], y[turn])

    return call


class Case(NamedTuple):
    """One comparison."""

    law: str
    optimizer: object
    what: str
    names: tuple = (DENSE, OURS, NO_PROBABILITIES, FEWER)
    rounds: int = 7


CASES = (
    Case("uniform", lambda: keras.optimizers.SGD(0.1), "Keras's SGD"),
    Case("Zipf", lambda: keras.optimizers.SGD(0.1), "Keras's SGD"),
    Case(
        "Zipf",
        lambda: optimizers.Adam(sparse="lazy"),
        'keras_dnn\'s Adam(sparse="lazy")',
        (DENSE, OURS, NO_PROBABILITIES),
        3,
    ),
)


def check_loss():
    """Asserts that the loss is that of the whole distribution."""
    network = model(OURS, "sgd")
    x, y = (part[0] for part in batches("uniform", 1))
    p = network.predict(x, batch_size=BATCH, verbose=0)
    expected = -np.log(p[np.arange(BATCH), y]).mean()
    np.testing.assert_allclose(network.test_on_batch(x, y), expected, rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def multiplications_per_second():
    a, b = tf.random.normal((BATCH, UNITS)), tf.random.normal((UNITS, 20_000))

    def multiply():
        return tf.matmul(a, b)[0, 0].numpy()

    product = interleaved({"": multiply}, rounds=10)
    return BATCH * UNITS * 20_000 / product.seconds.min()


def measure(case, bandwidth, multiplications):
    x, y = batches(case.law)
    calls = {name: step(model(name, case.optimizer()), x, y) for name in case.names}
    timings = interleaved(calls, rounds=case.rounds, warmup=2)
    print(f"\n{case.law} targets, {case.what}\n{timings}")
    for name, ratios in list(zip(case.names, timings.ratios, strict=True))[1:]:
        low, times, high = 1 / ratios[::-1]
        reached = "reached" if times >= GOAL else "MISSED"
        print(
            f"{name}: {times:.1f} times faster ({low:.1f} to {high:.1f}); "
            f"{GOAL} is {reached}"
        )
    arithmetic = 3 * BATCH * UNITS * CLASSES / multiplications
    width = HierarchicalSoftmax(CLASSES).levels.width
    distinct = np.mean([len(np.unique(row // width)) for row in y])
    moved = 6 * 4 * distinct * width * UNITS / bandwidth
    without = timings.medians[case.names.index(NO_PROBABILITIES)]
    print(
        f"limit of {DENSE} {1e3 * arithmetic:.0f} ms (arithmetic), "
        f"{arithmetic / timings.medians[0]:.0%} of its time; "
        f"limit of ours {1e3 * moved:.0f} ms (memory, {distinct:.0f} clusters), "
        f"{moved / without:.0%} without probabilities"
    )


def memory(name):
    """Megabytes that a model and its training take, without TensorFlow itself."""
    data = batches("uniform", 2)
    tf.matmul(tf.ones((BATCH, UNITS)), tf.ones((UNITS, 8))).numpy()
    # TensorFlow never frees the memory of random weights, which is more than a step's.
    for initializer in (keras.initializers.GlorotUniform, GlorotUniform):
        initializer.__call__ = lambda self, shape, dtype=None: tf.zeros(shape)
    before = resident()
    call = step(model(name, keras.optimizers.SGD(0.1)), *data)
    for _ in range(5):
        call()
    return resident() - before


def resident():
    """The most megabytes that this process has had."""
    # Not `getrusage`, which starts from the memory of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status).group(1)) / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(memory(sys.argv[2]))
        sys.exit()
    print(machine())
    check_loss()
    speeds = copy_bandwidth(), multiplications_per_second()
    print(f"{speeds[0] / 1e9:.1f} GB and {speeds[1] / 1e9:.0f} G products a second")
    for case in CASES:
        measure(case, *speeds)
    print("\nmemory of training, including 205 MB of weights; uniform targets, SGD")
    for name in (DENSE, OURS, NO_PROBABILITIES, FEWER):
        found = subprocess.run(
            [sys.executable, __file__, "--memory", name],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(f"{name:28} {float(found.stdout.split()[-1]):5.0f} MB")
