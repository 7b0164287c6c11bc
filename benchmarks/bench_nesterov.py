"""One step of Nesterov against Keras's SGD with Nesterov momentum.

The physical limit is memory: a step must read weights, velocity and gradient and write
weights and velocity, 20 bytes for each float32 parameter.
"""

import keras
import numpy as np
import tensorflow as tf
from interleaved import copy_bandwidth, interleaved, machine

from keras_dnn.optimizers import Nesterov

MODELS = {
    "6 large variables": [(1560, 1560)] * 6,
    "174 small variables": [(64, 64)] * 87 + [(64,)] * 87,
    "6 tiny variables": [(8, 8)] * 3 + [(8,)] * 3,
}


def step(optimizer, shapes, jit_compile):
    """A compiled step of its own variables, and these."""
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=s).astype("float32")) for s in shapes]
    gradients = [tf.constant(rng.normal(size=s).astype("float32")) for s in shapes]
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def apply():
        optimizer.apply(gradients, variables)
        return variables[0].value[..., :1]

    return lambda: apply().numpy(), variables


print(machine())
bandwidth = copy_bandwidth()
for name, shapes in MODELS.items():
    for jit_compile in (False, True):
        keras_step, theirs = step(
            keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), shapes, jit_compile
        )
        our_step, ours = step(Nesterov(0.01, momentum=0.9), shapes, jit_compile)
        for _ in range(3):
            keras_step(), our_step()
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)

        print(f"\n{name}, {'XLA' if jit_compile else 'ordinary graph'}")
        timings = interleaved({"keras SGD": keras_step, "keras_dnn Nesterov": our_step})
        print(timings)
        limit = 20 * sum(map(np.prod, shapes)) / bandwidth
        print(
            f"memory limit {1e3 * limit:.3f} ms, {limit / timings.medians[1]:.0%} of it"
        )
