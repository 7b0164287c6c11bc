"""What reused layers gain: the numbers and the figure of "Reusing layers".

Not part of `make bench`: it compares how well networks learn, not how fast they run.

A small convolutional network with batch norms learns eight classes of Fashion-MNIST
from 12,000 images; the two others are then learnt from 200 images, from scratch and on
the layers of that network, frozen and unfrozen in several ways, all for forty epochs.
Twice: with a pair that is easy, and with one that is hard.
Five seeds, each with its own first network, its own 200 images and its own initial
weights. Nothing is tuned but the rate of the network from scratch, which gets the best
of three, by the images of the test set.

    python benchmarks/compare_reuse.py            about five minutes on one core
    python benchmarks/compare_reuse.py --quick    a trial in `runs/`
    python benchmarks/compare_reuse.py --draw     draws the figure from the numbers
"""

import runpy
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from recording import ROOT, record, versions

from keras_dnn.callbacks import GradualUnfreezing
from keras_dnn.models import discriminative_rates, reuse_layers, unfreeze
from keras_dnn.optimizers import Adam
from keras_dnn.optimizers.schedules import PiecewiseConstant

PAIRS = {"Sandal or Shirt": (5, 6), "Pullover or Coat": (2, 4)}
IMAGES, DONOR_EPOCHS = 12_000, 4
FEW, BATCH_SIZE, EPOCHS = 200, 20, 40
STEPS = FEW // BATCH_SIZE
SEEDS = (11, 12, 13, 14, 15)
RATE, LOW_RATE = 1e-3, 1e-4
SCRATCH_RATES = (3e-4, 1e-3, 3e-3)
FACTOR = 1 / 2.6

METHODS = {
    "from scratch": "#000000",
    "all trained at once": "#D55E00",
    "frozen": "#0072B2",
    "unfrozen, a low rate": "#009E73",
    "unfrozen, discriminative rates": "#CC79A7",
    "gradual unfreezing": "#56B4E9",
}


def network(top):
    same = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, strides=2, name="conv_1", **same),
            layers.BatchNormalization(name="norm_1"),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, name="conv_2", **same),
            layers.BatchNormalization(name="norm_2"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(
                64, activation="relu", kernel_initializer="he_normal", name="dense"
            ),
            top,
        ]
    )


def head():
    return layers.Dense(1, activation="sigmoid", name="head")


def donor(seed, x, y, pair):
    """The network that knows the eight other classes, and how well."""
    keras.utils.set_random_seed(seed)
    others = ~np.isin(y, pair)
    x, y = x[others], np.searchsorted(np.setdiff1d(range(10), pair), y[others])
    model = network(layers.Dense(8, activation="softmax", name="classes"))
    model.compile(Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:IMAGES], y[:IMAGES], batch_size=64, epochs=DONOR_EPOCHS, verbose=0)
    _, accuracy = model.evaluate(x[-4000:], y[-4000:], batch_size=500, verbose=0)
    return model, accuracy


def fit(model, optimizer, data, epochs, callbacks=()):
    model.compile(optimizer, "binary_crossentropy")
    model.fit(
        *data, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[*callbacks]
    )
    return model


def learnt(how, model, data, rate=RATE):
    """A network that has learnt the pair, in one of the ways of `METHODS`."""
    if how == "from scratch":
        return fit(network(head()), Adam(rate), data, EPOCHS)
    if how == "all trained at once":
        model = reuse_layers(model, "dense", head(), freeze=False)
        return fit(model, Adam(RATE), data, EPOCHS)
    model = reuse_layers(model, "dense", head())
    if how == "gradual unfreezing":
        # The head alone first; names, so that the batch norms stay frozen.
        names = ("head", "dense", "conv_2", "conv_1")
        schedule = {i * EPOCHS // 4: [name] for i, name in enumerate(names)}
        steps = PiecewiseConstant([EPOCHS // 4 * STEPS], [RATE, LOW_RATE])
        return fit(model, Adam(steps), data, EPOCHS, [GradualUnfreezing(schedule)])
    if how == "frozen":
        return fit(model, Adam(RATE), data, EPOCHS)
    fit(model, Adam(RATE), data, EPOCHS // 2)
    unfreeze(model, 3)
    optimizer = (
        Adam(LOW_RATE)
        if how == "unfrozen, a low rate"
        else discriminative_rates(model, Adam(RATE), FACTOR)
    )
    return fit(model, optimizer, data, EPOCHS - EPOCHS // 2)


def few_of(seed, x, y, pair):
    """Equally many images of each of the two, and whether it is the second one."""
    generator = np.random.default_rng(seed)
    chosen = np.concatenate(
        [generator.choice(np.flatnonzero(y == c), FEW // 2, False) for c in pair]
    )
    return x[chosen], (y[chosen] == pair[1]).astype("float32")


def accuracy(model, x, y, pair):
    of_pair = np.isin(y, pair)
    p = model.predict(x[of_pair], batch_size=500, verbose=0)[:, 0]
    return round(float(np.mean((p > 0.5) == (y[of_pair] == pair[1]))), 5)


def compare(quick):
    start = time.perf_counter()
    load = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))["load"]
    train, test = load(full=True)
    seeds = SEEDS[:1] if quick else SEEDS
    pairs = {}
    for name, pair in PAIRS.items():
        runs = {how: [] for how in METHODS}
        scratch = {rate: [] for rate in SCRATCH_RATES}
        donors = []
        for seed in seeds:
            model, known = donor(seed, *train, pair)
            donors.append(round(known, 5))
            data = few_of(seed, *train, pair)
            for rate in SCRATCH_RATES:
                keras.utils.set_random_seed(seed)
                found = learnt("from scratch", model, data, rate)
                scratch[rate].append(accuracy(found, *test, pair))
            for how in list(METHODS)[1:]:
                keras.utils.set_random_seed(seed)
                found = learnt(how, model, data)
                runs[how].append(accuracy(found, *test, pair))
                print(f"{name:20} {seed} {how:32} {runs[how][-1]:.4f}", flush=True)
        best = max(scratch, key=lambda rate: np.mean(scratch[rate]))
        runs["from scratch"] = scratch[best]
        pairs[name] = {
            "accuracy_of_the_first_network": donors,
            "from_scratch": {f"{rate:g}": values for rate, values in scratch.items()},
            "test_accuracy": {how: summary(values) for how, values in runs.items()},
        }
    return {
        "setting": {
            "data": "Fashion-MNIST",
            "images_of_eight_classes": IMAGES,
            "images_of_two_classes": FEW,
            "test_images": 2000,
            "epochs": EPOCHS,
            "seeds": list(seeds),
            "rate": RATE,
            "low_rate": LOW_RATE,
            "factor": round(FACTOR, 4),
        },
        "versions": versions(),
        "pairs": pairs,
        "seconds": round(time.perf_counter() - start),
    }


def summary(values):
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    mean = round(float(np.mean(values)), 5)
    return {"runs": values, "mean": mean, "std": round(deviation, 5)}


def draw(results, folder):
    figure, panels = plt.subplots(
        1, len(PAIRS), figsize=(10, 3.6), layout="constrained", sharey="row"
    )
    for axes, (name, found) in zip(panels, results["pairs"].items(), strict=True):
        for place, (how, colour) in enumerate(METHODS.items()):
            values = 100 * np.array(found["test_accuracy"][how]["runs"])
            axes.plot(values, np.full(len(values), place), "o", color=colour, alpha=0.6)
            axes.vlines(values.mean(), place - 0.3, place + 0.3, color=colour)
        axes.set_yticks(range(len(METHODS)), list(METHODS))
        axes.set_xlabel("test accuracy (%), a dot for each seed")
        axes.set_title(name, loc="left")
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.savefig(folder / "reusing_layers.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    record("reuse", "Reused layers against none.", compare, draw)
