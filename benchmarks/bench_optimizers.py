"""One step of every rule against Keras's class of the same rule.

The physical limit is memory. A step must read weights, slots and gradient and write
weights and slots: for a float32 parameter 12 bytes with no slot, 20 with one, 28 with
two. Small networks are limited by the time it takes to start each operation.

    python benchmarks/bench_optimizers.py [rule ...]
"""

import sys
import time

import keras
import numpy as np
import tensorflow as tf
from interleaved import copy_bandwidth, interleaved, machine

from keras_dnn import optimizers

try:
    import torch
except ImportError:
    torch = None

MODELS = {
    "6 large variables": [(1560, 1560)] * 6,
    "174 small variables": [(64, 64)] * 87 + [(64,)] * 87,
    "6 tiny variables": [(8, 8)] * 3 + [(8,)] * 3,
}
# Enough steps in one call for it to take milliseconds.
STEPS = {"6 large variables": 1, "174 small variables": 5, "6 tiny variables": 50}
RULES = {
    "SGD": (keras.optimizers.SGD, optimizers.SGD),
    "Momentum": (
        lambda: keras.optimizers.SGD(momentum=0.9),
        optimizers.Momentum,
    ),
    "Nesterov": (
        lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True),
        optimizers.Nesterov,
    ),
    "AdaGrad": (keras.optimizers.Adagrad, optimizers.AdaGrad),
    "RMSProp": (keras.optimizers.RMSprop, optimizers.RMSProp),
    "Adam": (keras.optimizers.Adam, optimizers.Adam),
    "AdamW": (keras.optimizers.AdamW, optimizers.AdamW),
    "Nadam": (keras.optimizers.Nadam, optimizers.Nadam),
    "AdaMax": (keras.optimizers.Adamax, optimizers.AdaMax),
    "Adadelta": (keras.optimizers.Adadelta, optimizers.Adadelta),
}


def arrays(shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def steps(optimizer, shapes, count, jit_compile=False):
    """A compiled call that makes `count` steps, and the variables it updates."""
    variables = [keras.Variable(a) for a in arrays(shapes)]
    gradients = [tf.Variable(a) for a in arrays(shapes)]
    optimizer.build(variables)

    @tf.function(jit_compile=jit_compile)
    def apply():
        for _ in tf.range(count):
            optimizer.apply([g.value() for g in gradients], variables)
        return variables[0].value[..., :1]

    return lambda: apply().numpy(), variables


def torch_steps(shapes):
    """A call of PyTorch's fused Adam."""
    torch.set_num_threads(2)
    weights = [torch.from_numpy(a).requires_grad_() for a in arrays(shapes)]
    for weight, gradient in zip(weights, arrays(shapes), strict=True):
        weight.grad = torch.from_numpy(gradient)
    return torch.optim.Adam(weights, fused=True).step


def table_steps(optimizer, rows=400_000, width=32, named=256):
    """A call that updates the few rows of an embedding table that a batch names."""
    rng = np.random.default_rng(0)
    table = keras.Variable(rng.normal(size=(rows, width)).astype("float32"))
    gradient = tf.IndexedSlices(
        tf.constant(rng.normal(size=(named, width)).astype("float32")),
        tf.constant(rng.integers(0, rows, named)),
        tf.constant([rows, width], "int64"),
    )
    optimizer.build([table])

    @tf.function
    def apply():
        optimizer.apply([gradient], [table])
        return tf.constant(0)

    return lambda: apply().numpy()


def epoch(optimizer, widths, batch_size, batches=20):
    """A call of `fit` for one epoch of a dense network."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((widths[0],))])
    for width in widths[1:]:
        model.add(keras.layers.Dense(width, activation="relu"))
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batches * batch_size, widths[0])).astype("float32")
    y = rng.normal(size=(batches * batch_size, widths[-1])).astype("float32")
    return lambda: model.fit(x, y, batch_size=batch_size, verbose=0, shuffle=False)


def compare_rules(names, bandwidth):
    for model, shapes in MODELS.items():
        for name in names:
            theirs, ours = RULES[name]
            for jit_compile in (False, True):
                calls = {}
                results, first = [], {}
                for label, optimizer in {"Keras": theirs(), "ours": ours()}.items():
                    calls[label], variables = steps(
                        optimizer, shapes, STEPS[model], jit_compile
                    )
                    start = time.perf_counter()
                    calls[label]()
                    first[label] = time.perf_counter() - start
                    results.append(variables)
                for one, other in zip(*results, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
                timings = interleaved(calls, rounds=20)
                low, ratio, high = timings.ratios[1]
                milliseconds = 1e3 * timings.medians[1] / STEPS[model]
                moved = 12 + 8 * len(optimizer.slots)
                limit = moved * sum(map(np.prod, shapes)) / bandwidth
                print(
                    f"{model:20} {name:9} {'XLA' if jit_compile else 'graph':6}"
                    f"{milliseconds:8.3f} ms {ratio:6.2f} ({low:.2f} to {high:.2f})"
                    f"{1e5 * limit / milliseconds:5.0f}% of the memory limit, first "
                    f"{first['ours']:.1f} s ({first['Keras']:.1f} s)"
                )


def main(names):
    print(machine())
    bandwidth = copy_bandwidth()
    print(f"copying an array moves {bandwidth / 1e9:.1f} GB a second\n")
    print("time of a step, its ratio to Keras's (middle half), time to the first step")
    compare_rules(names, bandwidth)

    if torch is not None:
        print("\nAdam against PyTorch's fused kernel, 6 large variables")
        shapes = MODELS["6 large variables"]
        adam, _ = steps(optimizers.Adam(), shapes, 1)
        print(interleaved({"torch": torch_steps(shapes), "keras_dnn": adam}))

    print("\na table of 400,000 rows of which 256 are named")
    tables = {
        "keras Adam": keras.optimizers.Adam(),
        "Adam": optimizers.Adam(),
        "Adam, lazy": optimizers.Adam(sparse="lazy"),
        "keras Adagrad": keras.optimizers.Adagrad(),
        "AdaGrad": optimizers.AdaGrad(),
    }
    print(interleaved({k: table_steps(v) for k, v in tables.items()}))

    networks = {
        "one epoch of fit, 4 layers of 1,024, batch 32": ([1024] * 5, 32),
        "one epoch of fit, 40 layers of 64, batch 32": ([64] * 41, 32),
    }
    for title, (widths, batch_size) in networks.items():
        print(f"\n{title}")
        fits = {
            "keras Adam": epoch(keras.optimizers.Adam(), widths, batch_size),
            "Adam": epoch(optimizers.Adam(), widths, batch_size),
        }
        print(interleaved(fits, rounds=15))


if __name__ == "__main__":
    main(sys.argv[1:] or list(RULES))
