"""A hundred Monte Carlo samples: mc_predict against the loops people write.

The limit is arithmetic: multiplications of the deterministic part once, of the random
part once a sample, at the speed of a large matrix product, and a random number for each
unit dropped.
"""

import keras
import numpy as np
import tensorflow as tf
from interleaved import interleaved, machine
from keras import layers

from keras_dnn.layers import MCDropout
from keras_dnn.models import mc_predict

SAMPLES = 100


def dense_network():
    """Dropout from the first layer on: nothing to run only once."""
    return (
        keras.Sequential(
            [
                keras.Input((784,)),
                MCDropout(0.2),
                layers.Dense(300, activation="relu"),
                MCDropout(0.2),
                layers.Dense(100, activation="relu"),
                MCDropout(0.2),
                layers.Dense(10, activation="softmax"),
            ]
        ),
        784 * 300 + 300 * 100 + 100 * 10,
        0,
    )


def convolutional_network():
    """Dropout behind the convolutions: most of the work is the same in each sample."""
    return (
        keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(32, 3, padding="same", activation="relu"),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                MCDropout(0.25),
                layers.Dense(128, activation="relu"),
                MCDropout(0.5),
                layers.Dense(10, activation="softmax"),
            ]
        ),
        3136 * 128 + 128 * 10,
        28 * 28 * 9 * 32 * (1 + 64) + 14 * 14 * 9 * 64 * 64,
    )


def multiplications_per_second() -> float:
    a, b = tf.random.normal((2048, 784)), tf.random.normal((784, 1024))
    product = interleaved({"product": lambda: tf.matmul(a, b).numpy()}, rounds=10)
    return 2048 * 784 * 1024 / product.seconds.min()


print(machine())
peak = multiplications_per_second()
for build, rows in ((dense_network, 32), (convolutional_network, 8)):
    keras.utils.set_random_seed(0)
    model, random_part, once = build()
    x = np.random.default_rng(0).normal(size=(rows, *model.input_shape[1:]))
    x = x.astype("float32")
    compiled = tf.function(model)

    def stacked(predict, x=x):
        samples = np.stack([predict(x) for _ in range(SAMPLES)])
        return samples.mean(0), samples.std(0)

    def ours(model=model, x=x):
        prediction = mc_predict(model, x, SAMPLES)
        return prediction.mean, prediction.std

    means = [
        np.mean([f()[0] for _ in range(10)], axis=0)
        for f in (ours, lambda c=compiled: stacked(c))
    ]
    np.testing.assert_allclose(*means, atol=0.02)

    print(f"\n{build.__name__}: {build.__doc__} {rows} inputs, {SAMPLES} samples")
    timings = interleaved(
        {
            "loop of model(x)": lambda m=model: stacked(m),
            "loop of predict_on_batch": lambda m=model: stacked(m.predict_on_batch),
            "loop of a tf.function": lambda c=compiled: stacked(c),
            "mc_predict": ours,
        },
        rounds=10,
        warmup=1,
    )
    print(timings)
    limit = rows * (once + SAMPLES * random_part) / peak
    share = limit / timings.medians[-1]
    print(f"arithmetic limit {1e3 * limit:.1f} ms, {share:.0%} of it")

    single = interleaved(
        {
            "loop of predict": lambda m=model, x=x: stacked(
                lambda x: m.predict(x, verbose=0)
            ),
            "mc_predict": ours,
        },
        rounds=2,
        warmup=1,
    )
    print(single)
