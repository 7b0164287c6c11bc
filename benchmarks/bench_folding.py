"""Latency of networks with their batch norms folded, against the networks as they were.

What can be gained is bounded by what batch norm costs: its multiplications are few, but
Keras runs them as a chain of operations, each of which moves all activations through
memory once more and keeps TensorFlow from fusing convolution, bias and activation.
"""

import time

import keras
import numpy as np
import tensorflow as tf
from interleaved import interleaved, machine

from keras_dnn.models import fold_batch_norm


def trained(model):
    """Gives the batch norms statistics that are not the trivial ones."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif "moving_mean" in variable.path or "beta" in variable.path:
            variable.assign(0.1 * rng.normal(size=variable.shape))
    return model


print(machine())
for name in ("MobileNetV2", "ResNet50"):
    keras.utils.set_random_seed(0)
    model = trained(getattr(keras.applications, name)(weights=None))
    start = time.perf_counter()
    result = fold_batch_norm(model)
    seconds = time.perf_counter() - start
    print(f"\n{name}: {len(result.folded)} folded, {len(result.kept)} kept, ", end="")
    print(f"{seconds:.1f} s, largest difference {result.max_error:.1e} of the spread")

    for rows in (1, 8):
        x = tf.random.stateless_normal((rows, 224, 224, 3), seed=(1, 2))
        calls = {
            label: tf.function(lambda x, m=m: m(x, training=False))
            for label, m in {"original": model, "folded": result.model}.items()
        }
        print(f"tf.function, {rows} image{'s' * (rows > 1)}")
        print(
            interleaved(
                {label: lambda f=f, x=x: f(x).numpy() for label, f in calls.items()},
                rounds=15,
            )
        )
