"""Latency of networks with their batch norms folded, against the networks as they were.

The gain cannot exceed the cost of batch norm: its multiplications are few, but Keras
runs them as a chain of operations, each of which moves all activations through memory
once more and keeps TensorFlow from fusing convolution, bias and activation. How many
convolutions it fuses is counted in the graph that it runs. Where only convolutions are
left, their arithmetic is the limit, whose shortest possible time is printed too.

    python benchmarks/bench_folding.py                   about seven minutes
    python benchmarks/bench_folding.py MobileNetV2       one of the three networks
"""

import sys
import time
from collections import Counter

import keras
import numpy as np
import tensorflow as tf
from bench_inference import peak
from interleaved import interleaved, machine
from tensorflow.python.eager import context

from keras_dnn.models import fold_batch_norm

# How many times as fast a folded network should be at least.
TARGETS = {"MobileNetV2": 1.4, "ResNet50": 1.2, "EfficientNetB0": 1.3}
ELEMENTWISE = ("Mul", "AddV2", "AddN", "BiasAdd", "Sub", "Relu", "Relu6")


def trained(model):
    """Gives the batch norms statistics as if the model had been trained."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.weights:
                away_from_zero = variable.name in ("gamma", "moving_variance")
                if away_from_zero:
                    value = rng.uniform(0.5, 1.5, variable.shape)
                else:
                    value = 0.1 * rng.normal(size=variable.shape)
                variable.assign(value)
    return model


def operations(function, x):
    """Counts the operations of each kind in the graphs that a first call runs."""
    context.enable_run_metadata()
    try:
        # Discards what other functions have left there.
        context.context().export_run_metadata()
        function(x)
        metadata = context.context().export_run_metadata()
    finally:
        context.disable_run_metadata()
    return Counter(
        node.op
        for graphs in metadata.function_graphs
        for graph in graphs.partition_graphs
        for nodes in (graph.node, *(f.node_def for f in graph.library.function))
        for node in nodes
    )


def fused(counts):
    return sum(n for op, n in counts.items() if "Fused" in op and "Conv" in op)


def arithmetic(model):
    """Multiplications and additions of the convolutions, for one image."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            each = np.prod(layer.kernel.shape[:2])
        elif isinstance(layer, keras.layers.Conv2D):
            each = np.prod(layer.kernel.shape[:3])
        else:
            continue
        total += 2 * each * np.prod(layer.output.shape[1:])
    return total


def main(names):
    print(machine())
    for name in names:
        keras.utils.set_random_seed(0)
        model = trained(getattr(keras.applications, name)(weights=None))
        start = time.perf_counter()
        result = fold_batch_norm(model)
        seconds = time.perf_counter() - start
        print(f"\n{name}: {len(result.folded)} folded, {len(result.kept)} kept", end="")
        print(f" in {seconds:.1f} s, largest difference {result.max_error:.1e}")
        convolutions = sum("Conv" in type(x).__name__ for x in model.layers)

        for rows in (1, 8, 32):
            x = tf.random.stateless_normal((rows, 224, 224, 3), seed=(1, 2))
            calls = {
                label: tf.function(lambda x, m=m: m(x, training=False))
                for label, m in {"original": model, "folded": result.model}.items()
            }
            if rows == 1:
                for label, call in calls.items():
                    counts = operations(call, x)
                    rest = sum(counts[op] for op in ELEMENTWISE)
                    print(
                        f"{label}: {fused(counts)} of {convolutions} convolutions "
                        f"fused, {counts.total()} operations, {rest} additions, "
                        "multiplications and ReLUs by themselves"
                    )
            timings = interleaved(
                {label: lambda f=f, x=x: f(x).numpy() for label, f in calls.items()},
                rounds=15 if rows < 32 else 5,
            )
            faster = 1 / timings.ratios[1][1]
            images = f"{rows} image{'s' * (rows > 1)}"
            print(f"tf.function, {images}: {faster:.2f} times as fast ", end="")
            print(f"(wanted: at least {TARGETS[name]})\n{timings}")
            least = rows * arithmetic(model) / peak()
            print(
                "convolutions at the speed of a large matrix product: "
                f"{1e3 * least:.2f} ms"
            )


if __name__ == "__main__":
    main(sys.argv[1:] or TARGETS)
