"""The recipes against Keras's defaults, as the guide "A good default" reports them.

Not part of `make bench`: it compares how well networks learn, not how fast they run.

Four networks of four hidden layers of a hundred units, on 20,000 images of
Fashion-MNIST, ten epochs, batches of 32, six seeds. Two have Keras's defaults: ReLU,
Glorot's weights and Adam, once on pixels between 0 and 1 and once on standardised ones.
Two are the recipes, each with the rate that its own range test suggests. Nothing is
tuned by hand. The test set is used once, at the end of each training.

    python benchmarks/compare_recipes.py            about six minutes on one core
    python benchmarks/compare_recipes.py --quick    a quick trial in `runs/`
    python benchmarks/compare_recipes.py --draw     the figure from the numbers
"""

import os
import runpy
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import compare_optimizers as common
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from recording import ROOT, record, versions

from keras_dnn import recipes, tuning

EPOCHS, IMAGES, BATCH_SIZE = 10, 20_000, 32
DEPTH, UNITS = 4, 100
SEEDS = (11, 12, 13, 14, 15, 16)
LOSS = "sparse_categorical_crossentropy"
BASELINE, DEEP, SELF = "Keras's defaults", "deep_network", "self_normalizing_network"
STANDARDISED = "the same, standardised inputs"

# From Okabe and Ito's palette, which colour-blind readers can distinguish.
STYLES = {
    BASELINE: ("#000000", ":"),
    STANDARDISED: ("#D55E00", "-."),
    DEEP: ("#0072B2", "-"),
    SELF: ("#009E73", "--"),
}


def data(limit):
    """Training, validation and test images between 0 and 1, with labels."""
    load = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))["load"]
    (x, y), (x_test, y_test) = load(full=True)
    validation = len(x) // 6
    train = min(limit, len(x) - validation)
    return {
        "training": (x[:train], y[:train]),
        "validation": (x[-validation:], y[-validation:]),
        "test": (x_test, y_test),
    }


def plain(standardised):
    """A network with Keras's defaults."""
    model = keras.Sequential([keras.Input((28, 28, 1))])
    if standardised is not None:
        mean, variance = standardised.mean(), standardised.var()
        model.add(layers.Normalization(None, mean=mean, variance=variance))
    model.add(layers.Flatten())
    for _ in range(DEPTH):
        model.add(layers.Dense(UNITS, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    return model


def train(name, seed, images, epochs):
    keras.utils.set_random_seed(seed)
    x, y = images["training"]
    start = time.perf_counter()
    optimizer, callbacks, rate = "adam", [], 0.001
    if name in (DEEP, SELF):
        model = getattr(recipes, name)([UNITS] * DEPTH, n_classes=10, data=x)
        settings = recipes.training(model, x, y, loss=LOSS, seed=seed)
        optimizer, callbacks = settings.optimizer, settings.callbacks
        rate = settings.learning_rate
    else:
        model = plain(x if name == STANDARDISED else None)
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    history = model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=images["validation"],
        validation_batch_size=1000,
        callbacks=callbacks,
        verbose=0,
    ).history
    seconds = time.perf_counter() - start
    _, training = model.evaluate(x, y, batch_size=1000, verbose=0)
    predicted = model.predict(images["test"][0], batch_size=1000, verbose=0)
    accuracy = float(np.mean(predicted.argmax(axis=1) == images["test"][1]))
    print(f"{name:32} {seed}  rate {rate:.3g}  test {accuracy:.4f}", flush=True)
    return {
        "seed": seed,
        "rate": float(f"{rate:.3g}"),
        "seconds": round(seconds, 1),
        "training_accuracy": round(float(training), 5),
        "validation_accuracy": common.rounded(history["val_accuracy"]),
        "test_accuracy": round(accuracy, 5),
    }


def compare(quick):
    images = data(1_000 if quick else IMAGES)
    epochs, seeds = (2, SEEDS[:2]) if quick else (EPOCHS, SEEDS)
    # In turns, so that a slow minute of the machine affects all of them.
    trained = {name: [] for name in STYLES}
    for seed in seeds:
        for name in STYLES:
            trained[name].append(train(name, seed, images, epochs))
    scores = {
        name: [run["test_accuracy"] for run in runs] for name, runs in trained.items()
    }
    return {
        "setting": {
            "data": "Fashion-MNIST",
            **{f"{name}_images": len(x) for name, (x, _) in images.items()},
            "hidden_layers": DEPTH,
            "units": UNITS,
            "batch_size": BATCH_SIZE,
            "epochs": epochs,
            "seeds": list(seeds),
        },
        "versions": versions(),
        "networks": {name: summary(runs) for name, runs in trained.items()},
        "comparisons": [
            compared(scores, a, b)
            for a, b in (
                (STANDARDISED, BASELINE),
                (DEEP, BASELINE),
                (SELF, BASELINE),
                (DEEP, STANDARDISED),
                (SELF, STANDARDISED),
                (SELF, DEEP),
            )
        ],
    }


def summary(runs):
    """The runs of one network, with means and standard deviations."""
    found = {"runs": runs}
    for what in ("training_accuracy", "test_accuracy", "seconds"):
        values = [run[what] for run in runs]
        found[what] = {
            "mean": round(float(np.mean(values)), 5),
            "std": round(float(np.std(values, ddof=1)), 5),
        }
    return found


def compared(scores, a, b):
    """Wilcoxon's test over the seeds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The warning of too few pairs is in the text.
        result = tuning.compare(scores[a], scores[b], names=(a, b))
    print(result, flush=True)
    return {
        "names": [a, b],
        "difference": round(result.difference, 5),
        "interval": [
            round(end, 5) if np.isfinite(end) else None for end in result.interval
        ],
        "effect_size": round(result.effect_size, 3),
        "p_value": round(result.p_value, 5),
    }


def draw(results, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for column, (name, (colour, line)) in enumerate(STYLES.items()):
        runs = results["networks"][name]["runs"]
        curves = 100 * np.array([run["validation_accuracy"] for run in runs])
        epochs = np.arange(1, curves.shape[1] + 1)
        limits = curves.min(axis=0), curves.max(axis=0)
        left.fill_between(epochs, *limits, color=colour, alpha=0.12, lw=0)
        left.plot(epochs, curves.mean(axis=0), line, color=colour, label=name)
        tests = 100 * np.array([run["test_accuracy"] for run in runs])
        right.plot(np.full(len(tests), column), tests, "o", color=colour, alpha=0.6)
        right.hlines(tests.mean(), column - 0.25, column + 0.25, color=colour)
    left.set_title("Validation accuracy (%)", loc="left")
    left.set_xlabel("epoch")
    left.set_xticks(epochs)
    left.legend(frameon=False)
    right.set_title("Test accuracy (%), a dot for each seed", loc="left")
    right.set_xticks(
        range(len(STYLES)),
        [name.replace(", ", ",\n").replace("g_", "g_\n") for name in STYLES],
    )
    right.tick_params(axis="x", labelsize=8)
    for axes in (left, right):
        axes.grid(axis="y", alpha=0.25)
        figure.savefig(folder / "recipes.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    record("recipes", "Recipes against Keras's defaults.", compare, draw)
