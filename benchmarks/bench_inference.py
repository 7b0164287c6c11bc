"""One image through MobileNetV2: the candidates against `model.predict`.

`model.predict` spends most of its time around the network: it builds a data set of one
batch and a loop. What is left is limited by arithmetic: 0.3 billion multiplications and
as many additions, which 8-bit kernels do up to four times as fast as those for 32 bits
where the processor has instructions for them. The largest possible speed-up over
`model.predict` is printed beside the one that was measured.
"""

import time

import keras
import numpy as np
from interleaved import machine

from keras_dnn.models import optimize_for_inference

BOUNDS = {32: 20, 8: 40}
"""By bits: how many times as fast as `model.predict` the best candidate should be."""

OPERATIONS = 2 * 300e6
"""For one image of 224 × 224 pixels."""


def network():
    """MobileNetV2 whose batch norms have statistics other than 0 and 1.

    It gives logits: its thousand probabilities are nearly equal, as the weights are
    random, and smaller than the 1/256 in which an 8-bit softmax counts.
    """
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif "moving_mean" in variable.path or "beta" in variable.path:
            variable.assign(0.1 * generator.normal(size=variable.shape))
    return model


def images(count=8):
    generator = np.random.default_rng(1)
    return generator.normal(size=(count, 224, 224, 3)).astype("float32")


def peak(size=1024):
    """Operations per second in a product of two matrices, the best of some."""
    a = np.ones((size, size), "float32")
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def main():
    print(machine())
    before = peak()
    result = optimize_for_inference(network(), images(), rounds=15, verbose=0)
    print(result)
    predict = result.candidates[0].seconds
    limit = OPERATIONS / max(before, peak())
    for bits, bound in BOUNDS.items():
        measured = [c for c in result.candidates if c.bits == bits and not c.failure]
        best = max(measured, key=lambda candidate: candidate.speed_up)
        # One instruction multiplies four times as many numbers of 8 bits.
        least = limit * bits / 32
        print(
            f"\n{bits} bits: at the speed of a large matrix product "
            f"{1e3 * least:.2f} ms, {predict / least:.1f} times as fast as "
            f"model.predict.\n{best.name}: {1e3 * best.seconds:.2f} ms, "
            f"{best.speed_up:.1f} times; {bound} wanted: "
            f"{'as it should be' if best.speed_up >= bound else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
