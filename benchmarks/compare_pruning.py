"""What a pruned network loses: the numbers and the figure of "Reusing layers".

Not part of `make bench`: it compares how accurate networks are, not how fast.

A network of 300 and 100 hidden units, three seeds, learns 20,000 images of
Fashion-MNIST for six epochs. Its smallest weights are set to zero, 50 to 95% of them,
by layer or globally; the test accuracy is measured before and after three more epochs
of training. The unpruned network gets these three epochs too, so that the gain of
further training is not attributed to pruning. Nothing is tuned.

    python benchmarks/compare_pruning.py            about three minutes on one core
    python benchmarks/compare_pruning.py --quick    a trial in `runs/`
    python benchmarks/compare_pruning.py --draw     draws the figure from the numbers
"""

import runpy
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from recording import ROOT, record, versions

from keras_dnn.models import prune
from keras_dnn.optimizers import Adam

IMAGES, BATCH_SIZE, EPOCHS, MORE = 20_000, 128, 6, 3
SEEDS = (11, 12, 13)
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
SCOPES = ("layer", "global")
COLOURS = {"layer": "#0072B2", "global": "#D55E00"}
MEASURES = (
    "accuracy",
    "accuracy_after_training",
    "max_difference",
    "mean_difference",
    "compressed_ratio",
)


def network():
    he = {"activation": "relu", "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(300, name="first", **he),
            layers.Dense(100, name="second", **he),
            layers.Dense(10, activation="softmax", name="classes"),
        ]
    )


def train(model, x, y, epochs):
    model.compile(Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)


def accuracy(model, x, y):
    return float(np.mean(model.predict(x, 1000, verbose=0).argmax(axis=1) == y))


def pruned(model, sparsity, scope, train_set, test_set):
    """The measures of one pruning, and the fraction of zeros in each layer."""
    result = prune(model, sparsity, scope=scope, data=test_set[0][:1000])
    found = {
        "accuracy": accuracy(result.model, *test_set),
        "max_difference": result.max_difference,
        "mean_difference": result.mean_difference,
        "compressed_ratio": result.compressed_size / result.compressed_size_before,
    }
    train(result.model, *train_set, MORE)
    found["accuracy_after_training"] = accuracy(result.model, *test_set)
    print(scope, sparsity, found, flush=True)
    return found, result.sparsity.by_layer


def compare(quick):
    start = time.perf_counter()
    load = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))["load"]
    (x, y), test_set = load(full=True)
    train_set = x[:IMAGES], y[:IMAGES]
    seeds = SEEDS[:1] if quick else SEEDS
    unpruned = {"accuracy": [], "accuracy_after_training": []}
    runs = {scope: {s: [] for s in SPARSITIES} for scope in SCOPES}
    zeros = {scope: {} for scope in SCOPES}
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        model = network()
        train(model, *train_set, EPOCHS)
        unpruned["accuracy"].append(accuracy(model, *test_set))
        for scope in SCOPES:
            for sparsity in SPARSITIES:
                found, zeros[scope][f"{sparsity:g}"] = pruned(
                    model, sparsity, scope, train_set, test_set
                )
                runs[scope][sparsity].append(found)
        train(model, *train_set, MORE)
        unpruned["accuracy_after_training"].append(accuracy(model, *test_set))
    return {
        "setting": {
            "data": "Fashion-MNIST",
            "images": IMAGES,
            "test_images": len(test_set[0]),
            "weights": model.count_params(),
            "epochs": EPOCHS,
            "more_epochs": MORE,
            "seeds": list(seeds),
        },
        "versions": versions(),
        "unpruned": {name: summary(values) for name, values in unpruned.items()},
        "pruned": {
            scope: {
                f"{sparsity:g}": {
                    name: summary([run[name] for run in found]) for name in MEASURES
                }
                for sparsity, found in by_sparsity.items()
            }
            for scope, by_sparsity in runs.items()
        },
        "zeros_by_layer_of_the_last_seed": keras.tree.map_structure(
            lambda fraction: round(fraction, 4), zeros
        ),
        "seconds": round(time.perf_counter() - start),
    }


def summary(values):
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "runs": [round(value, 5) for value in values],
        "mean": round(float(np.mean(values)), 5),
        "std": round(deviation, 5),
    }


def draw(results, folder):
    figure, axes = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    unpruned = 100 * results["unpruned"]["accuracy_after_training"]["mean"]
    axes.axhline(unpruned, color="#6b6b6b", lw=1, label="unpruned, trained as long")
    for scope, by_sparsity in results["pruned"].items():
        for name, line, words in (
            ("accuracy", ":", "just pruned"),
            ("accuracy_after_training", "-", "trained further"),
        ):
            values = 100 * np.array([f[name]["runs"] for f in by_sparsity.values()])
            places = np.arange(len(by_sparsity))
            low, high = values.min(axis=1), values.max(axis=1)
            colour = COLOURS[scope]
            axes.fill_between(places, low, high, color=colour, alpha=0.15, lw=0)
            label = f"by {scope}, {words}" if scope == "layer" else f"{scope}, {words}"
            axes.plot(
                places, values.mean(axis=1), line, marker=".", color=colour, label=label
            )
    axes.set_xticks(range(len(SPARSITIES)), [f"{100 * s:g}%" for s in SPARSITIES])
    axes.set_xlabel("weights that are zero")
    axes.set_title("Test accuracy (%), mean and range of the seeds", loc="left")
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(folder / "pruning.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    record("pruning", "A pruned network against the unpruned one.", compare, draw)
