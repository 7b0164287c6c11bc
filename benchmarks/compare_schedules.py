"""Four schedules on one network: what the guide to the learning rate reports.

Not part of `make bench`: it compares how well schedules learn, not how fast they run.

The network, the data and the optimizer (Nesterov) are those of `compare_optimizers.py`.
Each schedule begins at, or rises to, each of two rates, a low one and a high one, and
the network is trained with three seeds for the same number of epochs. Nothing else is
tuned. The images of the test set are used once, at the end of each training. A range
test of the same network is recorded too, and what its two rates give.

    python benchmarks/compare_schedules.py            about ten minutes on one core
    python benchmarks/compare_schedules.py --quick    a short trial in `runs/`
    python benchmarks/compare_schedules.py --draw     the figures, from recorded numbers
"""

import time
from typing import NamedTuple

import compare_optimizers as common
import keras
import matplotlib.pyplot as plt
import numpy as np
from recording import record, versions

from keras_dnn import plotting
from keras_dnn.callbacks import OneCycleScheduler, PerformanceScheduler, StepLogger
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import ExponentialDecay, steps_in
from keras_dnn.tuning import find_learning_rate

EPOCHS, IMAGES, BATCH_SIZE = common.EPOCHS, common.IMAGES, common.BATCH_SIZE
TEST_SEED, SEEDS = 1, (11, 12, 13)
PATIENCE = 2
RATES = (0.01, 0.07)
# The plots need only each tenth rate of a training.
EVERY = 10

# Of Okabe and Ito's palette, which colour-blind readers can tell apart.
LINE_STYLES = {
    "constant": ("#000000", ":"),
    "exponential": ("#0072B2", "--"),
    "performance": ("#D55E00", "-."),
    "1-cycle": ("#009E73", "-"),
}


class Trained(NamedTuple):
    """The results of one training."""

    accuracies: list
    losses: list
    test_accuracy: float
    log: StepLogger


def compiled(rate):
    model = common.network()
    # Compiling with XLA does not pay off for so small a network.
    optimizer = Nesterov(rate, fused=False)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_range(images):
    keras.utils.set_random_seed(TEST_SEED)
    return find_learning_rate(
        compiled(0.01),
        *images["training"],
        batch_size=BATCH_SIZE,
        seed=TEST_SEED,
        verbose=0,
    )


def train(schedule, rate, seed, images, epochs):
    keras.utils.set_random_seed(seed)
    x, y = images["training"]
    log = StepLogger()
    callbacks = [log]
    learning_rate = rate
    if schedule == "exponential":
        # To a hundredth over the whole training.
        learning_rate = ExponentialDecay(rate, steps_in(epochs, x, BATCH_SIZE) / 2)
    elif schedule == "performance":
        callbacks.append(PerformanceScheduler(patience=PATIENCE))
    elif schedule == "1-cycle":
        callbacks.append(OneCycleScheduler(rate))
    model = compiled(learning_rate)
    history = model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        validation_data=images["validation"],
        validation_batch_size=1000,
        callbacks=callbacks,
        verbose=0,
    ).history
    _, test_accuracy = model.evaluate(*images["test"], batch_size=1000, verbose=0)
    return Trained(history["val_accuracy"], history["loss"], test_accuracy, log)


def compare(quick):
    start = time.perf_counter()
    images = common.data(1_000 if quick else IMAGES)
    epochs, seeds = (3, SEEDS[:2]) if quick else (EPOCHS, SEEDS)
    found = test_range(images)
    print(found, flush=True)
    schedules = {}
    for schedule in LINE_STYLES:
        schedules[schedule] = {}
        for rate in RATES:
            trained = [train(schedule, rate, seed, images, epochs) for seed in seeds]
            schedules[schedule][f"{rate:g}"] = summary(trained)
            test = schedules[schedule][f"{rate:g}"]["test_accuracy"]
            print(f"{schedule:12} {rate:g}  test {test['mean']} ± {test['std']}")
    return {
        "advised": advised(found, images, epochs, seeds),
        "setting": {
            "data": "Fashion-MNIST",
            **{f"{name}_images": len(x) for name, (x, _) in images.items()},
            "hidden_layers": common.HIDDEN_LAYERS,
            "units": common.UNITS,
            "optimizer": "Nesterov",
            "batch_size": BATCH_SIZE,
            "epochs": epochs,
            "patience": PATIENCE,
            "range_test_seed": TEST_SEED,
            "seeds": list(seeds),
            "rates": list(RATES),
        },
        "versions": versions(),
        "seconds": round(time.perf_counter() - start),
        "range_test": {
            "rates": significant(found.rates),
            "losses": significant(found.losses),
            "trend": significant(found.trend),
            "suggestions": found.suggestions,
            "suggestion": found.suggestion,
            "max_learning_rate": found.max_learning_rate,
            "interval": list(found.interval),
        },
        "schedules": schedules,
    }


def advised(found, images, epochs, seeds):
    """The test accuracy of a constant rate and of one cycle, both as advised."""
    accuracies = {}
    for schedule, rate in (
        ("constant", found.suggestion),
        ("1-cycle", found.max_learning_rate),
    ):
        trained = [train(schedule, rate, seed, images, epochs) for seed in seeds]
        accuracies[schedule] = {
            "rate": significant([rate])[0],
            **summary(trained)["test_accuracy"],
        }
        print(f"{schedule:12} as advised  {accuracies[schedule]}", flush=True)
    return accuracies


def summary(trained):
    """The runs of one schedule at one rate, with means and standard deviations."""
    tests = [run.test_accuracy for run in trained]
    accuracies = [run.accuracies for run in trained]
    losses = [run.losses for run in trained]
    steps = trained[0].log.steps
    shown = np.append(steps[:-1:EVERY], steps[-1])
    return {
        "test_accuracy": {
            "runs": common.rounded(tests),
            "mean": round(float(np.mean(tests)), 5),
            "std": round(float(np.std(tests, ddof=1)), 5),
        },
        "validation_accuracy": {
            "runs": [common.rounded(run) for run in accuracies],
            "mean": common.rounded(np.mean(accuracies, axis=0)),
            "std": common.rounded(np.std(accuracies, axis=0, ddof=1)),
        },
        "loss": {
            "runs": [common.rounded(run) for run in losses],
            "mean": common.rounded(np.mean(losses, axis=0)),
        },
        "steps": [int(step) for step in shown],
        "learning_rates": [significant(r.log.learning_rates[shown]) for r in trained],
        "momenta": significant(trained[0].log.momenta[shown]),
    }


def significant(numbers):
    return [float(f"{n:.5g}") if np.isfinite(n) else None for n in numbers]


def name_ends(axes, ends):
    """Writes names to the right of the curves that end at these heights."""
    to_axes = axes.transScale + axes.transLimits
    right = axes.get_xlim()[1]
    heights = np.array([to_axes.transform((right, y))[1] for y in ends.values()])
    heights = np.clip(heights, 0, 1)
    order = np.argsort(heights)
    places = heights[order]
    for _ in range(200):
        for i in range(1, len(places)):
            short = 0.075 - (places[i] - places[i - 1])
            if short > 0:
                places[i - 1 : i + 1] += (-short / 2, short / 2)
    places += max(0.02 - places.min(), 0)
    for k, place in zip(order, places, strict=True):
        name = list(ends)[k]
        axes.annotate(
            name,
            (1, heights[k]),
            xytext=(1.05, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=LINE_STYLES[name][0],
            arrowprops={"arrowstyle": "-", "color": LINE_STYLES[name][0], "lw": 0.6},
        )


def draw_range_test(found):
    rates, losses, trend = (
        np.array(found[name], float) for name in ("rates", "losses", "trend")
    )
    _, axes = plt.subplots(figsize=(7.5, 4.6))
    suggested, interval = found["suggestions"], tuple(found["interval"])
    plotting.range_test(rates, losses, trend, suggested, interval, axes)
    return axes.figure


def draw_rates(schedules, rate):
    """The rates that the steps used, and the momentum of the cycle against its rate."""
    figure, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(7.5, 5.5), height_ratios=(2.2, 1)
    )
    for name, (colour, style) in LINE_STYLES.items():
        run = schedules[name][rate]
        # Only performance scheduling differs from seed to seed, and its rate jumps.
        jumps = name == "performance"
        shape = "steps-post" if jumps else "default"
        for rates in run["learning_rates"][1:] if jumps else []:
            above.plot(
                run["steps"], rates, color=colour, lw=0.7, alpha=0.7, drawstyle=shape
            )
        first = run["learning_rates"][0]
        above.plot(run["steps"], first, style, color=colour, lw=1.8, drawstyle=shape)
        if name in ("constant", "1-cycle"):
            below.plot(run["steps"], run["momenta"], style, color=colour, lw=1.8)
    above.set_yscale("log")
    above.set_xlim(0, run["steps"][-1])
    above.set_title("Learning rate", loc="left")
    below.set_title("Momentum", loc="left")
    below.set_xlabel("step")
    runs = {name: schedules[name][rate] for name in LINE_STYLES}
    name_ends(above, {n: run["learning_rates"][0][-1] for n, run in runs.items()})
    name_ends(below, {"1-cycle": runs["1-cycle"]["momenta"][-1]})
    below.text(run["steps"][-1] * 1.05, 0.9, "the others", va="center")
    return figure


def draw_accuracies(schedules, rates):
    """Mean of the seeds, and their range."""
    figure, panels = plt.subplots(1, 2, sharey=True, figsize=(10.5, 4.6))
    for axes, rate in zip(panels, rates, strict=True):
        for name, (colour, style) in LINE_STYLES.items():
            runs = schedules[name][rate]["validation_accuracy"]["runs"]
            runs = 100 * np.array(runs, float)
            epochs = np.arange(1, runs.shape[1] + 1)
            low, high = runs.min(axis=0), runs.max(axis=0)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.12, lw=0)
            axes.plot(epochs, runs.mean(axis=0), style, color=colour, lw=1.8)
        axes.set_xlim(1, epochs[-1])
        axes.set_xticks(epochs)
        axes.set_xlabel("epoch")
        axes.set_title(f"Rate {rate}: validation accuracy (%)", loc="left")
        axes.grid(alpha=0.25)
    last = {
        rate: {
            name: 100 * schedules[name][rate]["validation_accuracy"]["mean"][-1]
            for name in LINE_STYLES
        }
        for rate in rates
    }
    ends = [end for names in last.values() for end in names.values()]
    # The first epoch is far below and would compress the rest.
    panels[0].set_ylim(min(ends) - 4, max(ends) + 1)
    for axes, rate in zip(panels, rates, strict=True):
        name_ends(axes, last[rate])
    return figure


def draw(results, folder):
    schedules = results["schedules"]
    rates = [f"{rate:g}" for rate in results["setting"]["rates"]]
    figures = {
        "range_test": draw_range_test(results["range_test"]),
        "schedules": draw_rates(schedules, rates[-1]),
        "accuracy": draw_accuracies(schedules, rates),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"learning_rate_{name}.png", dpi=150)
        plt.close(figure)


if __name__ == "__main__":
    record("schedules", "Trains one network four ways.", compare, draw)
