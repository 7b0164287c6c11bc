"""All ten rules on one network: what the guide to choosing an optimizer reports.

Not part of `make bench`: it compares how well rules learn, not how fast they run.

Every rule has the same network, data and number of epochs, and a constant rate, the
best of a grid of half decades by validation accuracy, one training each. The grid is
extended while its best rate is its first or last. Then the network is trained at that
rate with three other seeds. Nothing else is tuned. The images of the test set are used
once, at the end of these trainings.

    python benchmarks/compare_optimizers.py            about ten minutes on one core
    python benchmarks/compare_optimizers.py --quick    a short trial in `runs/`
    python benchmarks/compare_optimizers.py --draw     the figure, from recorded numbers
"""

import inspect
import math
import os
import runpy
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from recording import ROOT, record, versions

from keras_dnn import optimizers

EPOCHS, IMAGES, BATCH_SIZE = 10, 20_000, 128
HIDDEN_LAYERS, UNITS = 4, 100
GRID_SEED, SEEDS = 1, (11, 12, 13)
# A single epoch at a constant rate is up or down by chance.
SCORED_EPOCHS = 3

# The middle of the grid that is tried first.
RULES = {
    "SGD": 0.1,
    "Momentum": 0.03,
    "Nesterov": 0.03,
    "AdaGrad": 0.03,
    "RMSProp": 0.001,
    "Adam": 0.003,
    "AdamW": 0.003,
    "Nadam": 0.003,
    "AdaMax": 0.003,
    "Adadelta": 1.0,
}

# Of Okabe and Ito's palette, which colour-blind readers can tell apart.
FAMILIES = {
    "one rate for all weights": ("#0072B2", ("SGD", "Momentum", "Nesterov")),
    "divided by past gradients": ("#D55E00", ("AdaGrad", "RMSProp", "Adadelta")),
    "divided, with momentum": ("#009E73", ("Adam", "AdamW", "Nadam", "AdaMax")),
}
STYLES = ("-", "--", ":", "-.")


def data(limit):
    """Training, validation and test images with labels, standardised."""
    load = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))["load"]
    (x, y), (x_test, y_test) = load(full=True)
    mean, std = x.mean(), x.std()
    x, x_test = ((a.reshape(len(a), -1) - mean) / std for a in (x, x_test))
    validation = len(x) // 6
    train = min(limit, len(x) - validation)
    return {
        "training": (x[:train], y[:train]),
        "validation": (x[-validation:], y[-validation:]),
        "test": (x_test, y_test),
    }


def network():
    """Dense layers, He-initialised, each with batch norm and ReLU."""
    model = keras.Sequential([keras.Input((784,))])
    for _ in range(HIDDEN_LAYERS):
        model.add(layers.Dense(UNITS, use_bias=False, kernel_initializer="he_normal"))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def trainer(rule, images, epochs):
    """Two functions: one trains with a rate and a seed, one tests the trained model.

    Each training starts from initial weights, but with the same model and optimizer:
    tracing them again would take as long as some epochs.
    """
    model = network()
    # Compiling with XLA does not pay off for so small a network.
    optimizer = getattr(optimizers, rule)(fused=False)
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    initial = [variable.numpy() for variable in optimizer.variables]

    def train(rate, seed):
        keras.utils.set_random_seed(seed)
        model.set_weights(network().get_weights())
        for variable, value in zip(optimizer.variables, initial, strict=True):
            variable.assign(value)
        optimizer.learning_rate = rate
        x, y = images["training"]
        history = model.fit(
            x,
            y,
            batch_size=BATCH_SIZE,
            epochs=epochs,
            validation_data=images["validation"],
            validation_batch_size=1000,
            verbose=0,
        ).history
        return rounded(history["loss"]), rounded(history["val_accuracy"])

    def test():
        _, accuracy = model.evaluate(*images["test"], batch_size=1000, verbose=0)
        return round(float(accuracy), 5)

    return train, test


def rounded(numbers):
    return [round(float(n), 5) if math.isfinite(n) else None for n in numbers]


def half_decade(index):
    """0.001, 0.003, 0.01, ... for -6, -5, -4, ..."""
    return float(f"{(1, 3)[index % 2]}e{index // 2}")


def search(rule, train, narrow):
    """The accuracy at each rate tried, and the best of these rates."""
    scores = {}
    middle = round(2 * math.log10(RULES[rule]))
    wanted = [middle] if narrow else [middle - 1, middle, middle + 1, middle + 2]
    while wanted:
        for index in wanted:
            rate = half_decade(index)
            scores[index] = score(train(rate, GRID_SEED))
            print(f"{rule:9} {rate:8g}  {scores[index]:.4f}", flush=True)
        best = max(scores, key=scores.get)
        wanted = []
        if not narrow and best == min(scores):
            wanted = [best - 1]
        elif not narrow and best == max(scores):
            wanted = [best + 1]
    return {half_decade(i): score for i, score in scores.items()}, half_decade(best)


def score(curves):
    """Validation accuracy, averaged over the last epochs."""
    _, accuracy = curves
    return round(float(np.mean(accuracy[-SCORED_EPOCHS:])), 5)


def compare(quick):
    start = time.perf_counter()
    images = data(1_000 if quick else IMAGES)
    epochs, seeds = (2, SEEDS[:2]) if quick else (EPOCHS, SEEDS)
    rules = {}
    for rule in RULES:
        train, test = trainer(rule, images, epochs)
        grid, rate = search(rule, train, narrow=quick)
        runs = {"loss": [], "validation_accuracy": []}
        final = []
        for seed in seeds:
            loss, accuracy = train(rate, seed)
            runs["loss"].append(loss)
            runs["validation_accuracy"].append(accuracy)
            final.append(test())
        default = inspect.signature(getattr(optimizers, rule)).parameters
        default = default["learning_rate"].default
        if default not in grid:
            grid[default] = score(train(default, GRID_SEED))
        rules[rule] = {
            "learning_rate": rate,
            "default_learning_rate": default,
            "validation_accuracy_at_rate": {f"{r:g}": grid[r] for r in sorted(grid)},
            **{
                key: {
                    "runs": curves,
                    "mean": rounded(np.mean(curves, axis=0)),
                    "std": rounded(np.std(curves, axis=0, ddof=1)),
                }
                for key, curves in runs.items()
            },
            "test_accuracy": {
                "runs": final,
                "mean": round(float(np.mean(final)), 5),
                "std": round(float(np.std(final, ddof=1)), 5),
            },
        }
        print(f"{rule:9} {rate:8g}  test {np.mean(final):.4f}", flush=True)
    return {
        "setting": {
            "data": "Fashion-MNIST",
            **{f"{name}_images": len(x) for name, (x, _) in images.items()},
            "hidden_layers": HIDDEN_LAYERS,
            "units": UNITS,
            "batch_size": BATCH_SIZE,
            "epochs": epochs,
            "judged_epochs": SCORED_EPOCHS,
            "grid_seed": GRID_SEED,
            "seeds": list(seeds),
        },
        "versions": versions(),
        "seconds": round(time.perf_counter() - start),
        "rules": rules,
    }


def line_styles():
    """Colour and line style of each rule."""
    return {
        rule: (colour, style)
        for colour, members in FAMILIES.values()
        for rule, style in zip(members, STYLES, strict=False)
    }


def apart(wanted, gap):
    """Heights in the order given, moved so that no two are closer than `gap`."""
    order = np.argsort(wanted)
    heights = np.array(wanted, float)[order]
    for _ in range(1000):
        for i in range(1, len(heights)):
            short = gap - (heights[i] - heights[i - 1])
            if short > 0:
                heights[i - 1] -= short / 2
                heights[i] += short / 2
    moved = np.empty_like(heights)
    moved[order] = heights
    return moved


def draw_curves(axes, rules, measure, scale):
    """The mean over the seeds by epoch, with the name of each rule at its end."""
    means = {}
    for rule, (colour, style) in line_styles().items():
        runs = scale * np.array(rules[rule][measure]["runs"], float)
        means[rule] = runs.mean(axis=0)
        epochs = np.arange(1, runs.shape[1] + 1)
        ends = runs.min(axis=0), runs.max(axis=0)
        axes.fill_between(epochs, *ends, color=colour, alpha=0.08, lw=0)
        axes.plot(epochs, means[rule], style, color=colour, lw=1.8)
    axes.set_xlim(1, epochs[-1])
    axes.set_xticks(epochs)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.25)
    return {rule: mean[-1] for rule, mean in means.items()}


def name_curves(axes, last):
    """Writes names beside the ends of the curves, apart from one another."""
    to_axes = axes.transScale + axes.transLimits
    end = axes.get_xlim()[1]
    ends = [to_axes.transform((end, value))[1] for value in last.values()]
    heights = apart(ends, gap=1 / 22)
    heights -= max(heights.max() - 1, 0) + min(heights.min(), 0)
    for rule, y, height in zip(last, ends, heights, strict=True):
        colour, style = line_styles()[rule]
        axes.plot(
            [1, 1.05, 1.11],
            [y, height, height],
            style,
            color=colour,
            lw=1,
            clip_on=False,
            transform=axes.transAxes,
        )
        axes.text(
            1.12,
            height,
            rule,
            color=colour,
            va="center",
            fontsize=9,
            transform=axes.transAxes,
        )


def draw_losses(axes, rules):
    last = draw_curves(axes, rules, "loss", 1)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [t for t in (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1) if low < t < high]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_title("Training loss", loc="left")
    name_curves(axes, last)


def draw_validation(axes, rules):
    last = draw_curves(axes, rules, "validation_accuracy", 100)
    axes.set_title("Validation accuracy (%)", loc="left")
    name_curves(axes, last)


def draw_tests(axes, rules):
    """A row for each rule, the best at the top: each seed and the mean."""
    order = sorted(rules, key=lambda rule: rules[rule]["test_accuracy"]["mean"])
    for row, rule in enumerate(order):
        colour, _ = line_styles()[rule]
        runs = 100 * np.array(rules[rule]["test_accuracy"]["runs"])
        axes.plot(runs, [row] * len(runs), "o", color=colour, ms=5, alpha=0.45, mew=0)
        axes.plot(runs.mean(), row, "|", color=colour, ms=15, mew=2.5)
    axes.set_yticks(range(len(order)), order)
    for label in axes.get_yticklabels():
        label.set_color(line_styles()[label.get_text()][0])
    axes.set_xlabel("each seed, and the mean")
    axes.set_title("Test accuracy at the end (%)", loc="left")
    axes.grid(axis="x", alpha=0.25)


def draw_rates(axes, rules):
    """Accuracy at every rate that was tried."""
    names = [rule for _, members in FAMILIES.values() for rule in members]
    tried = {rule: rules[rule]["validation_accuracy_at_rate"] for rule in names}
    rates = sorted({float(rate) for scores in tried.values() for rate in scores})
    table = np.full((len(names), len(rates)), np.nan)
    for row, rule in enumerate(names):
        for rate, accuracy in tried[rule].items():
            table[row, rates.index(float(rate))] = 100 * accuracy
    low = max(np.nanmin(table), np.floor(np.nanmax(table)) - 6)
    axes.imshow(table, cmap="cividis", vmin=low, vmax=np.nanmax(table), aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        rate, of = rates[column], rules[names[row]]
        dark = value < (low + np.nanmax(table)) / 2
        axes.text(
            column,
            row,
            f"{value:.1f}" + "°" * (rate == of["default_learning_rate"]),
            color="white" if dark else "black",
            weight="bold" if rate == of["learning_rate"] else "normal",
            ha="center",
            va="center",
            fontsize=9,
        )
        if rate == of["learning_rate"]:
            box = mpl.patches.Rectangle(
                (column - 0.47, row - 0.45), 0.94, 0.9, fill=False, lw=2, ec="black"
            )
            axes.add_patch(box)
    axes.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    axes.set_yticks(range(len(names)), names)
    for label in axes.get_yticklabels():
        label.set_color(line_styles()[label.get_text()][0])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("learning rate")
    title = "Validation accuracy (%) at each rate tried; ° is the default"
    axes.set_title(title, loc="left")


def draw(results, folder):
    rules = results["rules"]
    figure = plt.figure(figsize=(11, 9.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    above, below = figure.subfigures(2, 1)
    left, right = above.subplots(1, 2)
    draw_losses(left, rules)
    draw_validation(right, rules)
    left, right = below.subplots(1, 2, width_ratios=(2.4, 1))
    draw_rates(left, rules)
    draw_tests(right, rules)
    figure.savefig(folder / "choosing_an_optimizer.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    record("optimizers", "Trains one network with all rules.", compare, draw)
