"""Trainings that go wrong, what the doctor reports, and each with its cure.

Not part of `make bench`: it makes what the guide "When training goes wrong" shows, the
findings in `docs/_data/cures`, the numbers in `docs/_data/cures.json`, the figures in
`docs/_images`. All train on Fashion-MNIST with one seed, and nothing is averaged: other
seeds give other numbers.

The table of what the advice of each finding brings is made of small networks with that
disease (`diagnosed`), with three seeds: `docs/_data/gains.json`.

    python benchmarks/compare_cures.py              about three minutes on one core
    python benchmarks/compare_cures.py --gains      only the table, five minutes
    python benchmarks/compare_cures.py --quick      a quick try in `runs/`
    python benchmarks/compare_cures.py --only slow  one of them again; the rest stays
    python benchmarks/compare_cures.py --draw       only the figures, from the numbers
"""

import argparse
import json
import math
import os
import runpy
import sys
import textwrap
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import matplotlib.pyplot as plt
import numpy as np
from diagnosed import gains
from keras import layers
from recording import ROOT, versions, write

from keras_dnn.callbacks import Doctor, TrainingEvaluation
from keras_dnn.diagnostics import preflight

IMAGES, HELD_OUT, BATCH_SIZE, SEED = 8_000, 2_000, 64, 7
SICK, CURED = "#d1711c", "#2066a8"
POINTS = 150


def data(images):
    load = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))["load"]
    (x, y), _ = load(full=True)
    return (x[:images], y[:images]), (x[-HELD_OUT:], y[-HELD_OUT:])


def network(
    *body,
    optimizer=None,
    last="glorot_uniform",
    scale=1.0,
):
    """Layers between standardised images and ten classes."""
    # Pixels between 0 and 1 have a mean of 0.29 and a standard deviation of 0.35.
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(scale * 2.83, offset=-0.81 if scale == 1.0 else 0.0),
            *body,
            layers.Dense(10, "softmax", kernel_initializer=last),
        ]
    )
    model.compile(
        optimizer or keras.optimizers.Adam(0.001),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def dense(units=100, depth=3, activation="relu", initializer="he_normal", rate=0.0):
    body = [layers.Flatten()]
    for _ in range(depth):
        body.append(layers.Dense(units, activation, kernel_initializer=initializer))
        if rate:
            body.append(layers.Dropout(rate))
    return body


class UnitLength(layers.Layer):
    """Divides each example's features by their length, which may be zero."""

    def __init__(self, epsilon, **options):
        super().__init__(**options)
        self.epsilon = epsilon

    def call(self, x):
        squares = keras.ops.sum(keras.ops.square(x), axis=-1, keepdims=True)
        return x / keras.ops.sqrt(squares + self.epsilon)


def of_unit_length(epsilon):
    """Eight ReLUs are few enough to be zero all at once."""
    eight = layers.Dense(8, "relu", kernel_initializer="he_normal", name="features")
    return network(*dense(depth=2), eight, UnitLength(epsilon))


class Shortest(keras.callbacks.Callback):
    """The smallest length of the vectors that `UnitLength` divides by."""

    def __init__(self, x):
        super().__init__()
        self.x = x
        self.steps, self.lengths = [], []

    def on_train_begin(self, logs=None):
        self.features = keras.Model(
            self.model.inputs, self.model.get_layer("features").output
        )
        self.step = 0

    def on_train_batch_end(self, batch, logs=None):
        if self.step % 4 == 0:
            found = self.features.predict_on_batch(self.x)
            self.steps.append(self.step)
            self.lengths.append(np.linalg.norm(found, axis=1).min())
        self.step += 1


def adam(rate):
    return keras.optimizers.Adam(rate)


def descent(rate):
    return keras.optimizers.SGD(rate)


# By symptom: the check that should report it, who makes the check, the sick network and
# the cured one, the number of images and of epochs.
CASES = {
    "nan": (
        "nonfinite",
        "Doctor",
        lambda: of_unit_length(0.0),
        lambda: of_unit_length(1e-6),
        IMAGES,
        3,
    ),
    "stays": (
        "vanishing",
        "preflight",
        lambda: network(*dense(50, 12, "sigmoid", "glorot_normal")),
        lambda: network(*dense(50, 12)),
        IMAGES,
        4,
    ),
    "begins_high": (
        "initial-loss",
        "preflight",
        lambda: network(*dense(), last=keras.initializers.RandomNormal(stddev=1.0)),
        lambda: network(*dense()),
        IMAGES,
        3,
    ),
    "rises": (
        "rate-too-high",
        "Doctor",
        lambda: network(*dense(), optimizer=adam(0.3)),
        lambda: network(*dense(), optimizer=adam(0.003)),
        IMAGES,
        3,
    ),
    "slow": (
        "rate-too-low",
        "Doctor",
        lambda: network(*dense(), optimizer=descent(1e-5)),
        lambda: network(*dense(), optimizer=descent(0.1)),
        IMAGES,
        4,
    ),
    "overfitting": (
        "overfitting",
        "Doctor",
        lambda: network(*dense(256)),
        lambda: network(*dense(256, rate=0.5)),
        1_000,
        30,
    ),
    "underfitting": (
        "underfitting",
        "Doctor",
        lambda: network(*dense(rate=0.65)),
        lambda: network(*dense(rate=0.2)),
        IMAGES,
        8,
    ),
    "badly": (
        "inputs-not-standardised",
        "preflight",
        lambda: network(*dense(), scale=255 / 2.83),
        lambda: network(*dense()),
        IMAGES,
        4,
    ),
}


# One training -------------------------------------------------------------------------


def train(make, epochs, training, validation):
    keras.utils.set_random_seed(SEED)
    model = make()
    before = preflight(model, *training, verbose=0)
    surest = model.predict(validation[0], batch_size=500, verbose=0).max(axis=1)
    doctor = Doctor(training, every=4, verbose=0)
    callbacks = [TrainingEvaluation(training), doctor]
    shortest = Shortest(training[0])
    if any(isinstance(layer, UnitLength) for layer in model.layers):
        callbacks.append(shortest)
    history = model.fit(
        *training,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=validation,
        validation_batch_size=500,
        callbacks=callbacks,
        verbose=0,
    ).history
    charts = {c.title: c for c in (*before.charts, *doctor.report.charts)}
    curves = {
        "loss": curve(charts["Loss"], "loss"),
        "gradient norm": curve(charts["Gradient norm"], "norm"),
        "update ratio": curve(charts["Update to weight"], "ratio"),
        "gradient by layer": numbers(charts["Gradient by layer"].curves["norm"]),
        "training, dropout off": numbers(history["train_eval_loss"]),
        "training, as reported": numbers(history["loss"]),
        "validation": numbers(history["val_loss"]),
        "surest answer": numbers(
            np.histogram(surest, 20, (0, 1))[0] / len(surest)  # fraction of the images
        ),
    }
    if shortest.steps:
        found = {"x": shortest.steps, "y": numbers(shortest.lengths)}
        curves["shortest"] = found
    summary = {
        "first_loss": number(doctor.report.charts[0].curves["loss"][0]),
        "loss": number(history["train_eval_loss"][-1]),
        "validation_loss": number(history["val_loss"][-1]),
        "validation_accuracy": number(history["val_accuracy"][-1]),
        "best_validation_loss": number(np.nanmin([np.inf, *history["val_loss"]])),
    }
    return before, doctor.report, {"summary": summary, "curves": curves}


def curve(chart, name):
    thin = slice(None, None, -(-len(chart.x) // POINTS))
    return {
        "x": [int(n) for n in chart.x[thin]],
        "y": numbers(chart.curves[name][thin]),
    }


def number(value):
    return float(f"{value:.4g}") if math.isfinite(value) else None


def numbers(values):
    return [number(value) for value in values]


def compare(quick, only):
    training, validation = data(1_000 if quick else IMAGES)
    trained, findings = {}, {}
    for slug in only or CASES:
        problem, examiner, sick, cured, images, epochs = CASES[slug]
        some = training[0][:images], training[1][:images]
        ill = train(sick, epochs, some, validation)
        well = train(cured, epochs, some, validation)
        report = ill[0] if examiner == "preflight" else ill[1]
        (finding, *_) = report.named(problem) or [None]
        first = report.findings[0].name if report.findings else None
        left = [f.name for r in well[:2] for f in r.findings if f.severity != "note"]
        trained[slug] = {
            "problem": problem,
            "found_by": examiner,
            "first_finding": first,
            "left_after_the_cure": left,
            "images": len(some[0]),
            "epochs": epochs,
            "sick": ill[2],
            "cured": well[2],
        }
        findings[slug] = wrapped(finding)
        print(f"{slug}: {first}, cured: {left or 'healthy'}\n{findings[slug]}")
        print(ill[2]["summary"], well[2]["summary"], sep="\n", flush=True)
    setting = {"data": "Fashion-MNIST", "batch_size": BATCH_SIZE, "seed": SEED}
    return {"setting": setting, "versions": versions(), "cases": trained}, findings


def wrapped(finding):
    """The printed finding, in lines that fit on a page."""
    lines = []
    for line in str(finding).splitlines():
        indent = "  " if line.startswith("  ") else ""
        lines += textwrap.wrap(line, 96, subsequent_indent=indent, initial_indent="")
    return "\n".join(lines) + "\n"


# Figures ------------------------------------------------------------------------------


def evidence(ax, slug, case):
    """The evidence for the finding, in the sick network and in the cured one."""
    for which, colour in (("sick", SICK), ("cured", CURED)):
        curves = case[which]["curves"]
        if slug in ("rises", "slow"):
            ax.set_title("Update to weight, healthy range shaded", loc="left")
            ax.plot(curves["update ratio"]["x"], floats(curves["update ratio"]["y"]))
            ax.lines[-1].set_color(colour)
            ax.set_yscale("log")
            ax.set_xlabel("step")
        elif slug == "nan":
            ax.set_title("Smallest norm that outputs are divided by", loc="left")
            found, loss = curves["shortest"], floats(curves["loss"]["y"])
            # After the first NaN it means nothing.
            end = curves["loss"]["x"][np.flatnonzero(np.isfinite(loss))[-1]]
            there = np.array(found["x"]) <= end
            x, y = np.array(found["x"])[there], floats(found["y"])[there]
            ended = not np.isfinite(loss[-1])
            ax.plot(x, y, color=colour, zorder=3 if ended else 2)
            if ended:
                ax.plot(x[-1], y[-1], "x", color=colour, ms=8)
            ax.set_xlabel("step")
        elif slug == "badly":
            ax.set_title("Norm of the gradient", loc="left")
            found = curves["gradient norm"]
            ax.plot(found["x"], floats(found["y"]), color=colour)
            ax.set_yscale("log")
            ax.set_xlabel("step")
        elif slug == "stays":
            ax.set_title("Norm of the gradient before training, by layer", loc="left")
            # That of the output is unknown: Keras skips its softmax.
            ax.plot(floats(curves["gradient by layer"])[:-1], ".-", color=colour)
            ax.set_yscale("log")
            ax.set_xlabel("layer, from the input")
        elif slug == "begins_high":
            ax.set_title(
                "How sure it is before training (fraction of images)", loc="left"
            )
            edges = np.linspace(0, 1, 21)
            ax.stairs(floats(curves["surest answer"]), edges, color=colour, fill=True)
            ax.patches[-1].set_alpha(0.6)
            ax.set_xlabel("largest probability")
        else:
            ax.set_title("Loss by epoch: validation full, training dashed", loc="left")
            # The loss that `fit` reports is the one that looks worse than validation.
            name = "training, dropout off"
            if slug == "underfitting":
                name = "training, as reported"
            epochs = np.arange(1, len(curves["validation"]) + 1)
            ax.plot(epochs, floats(curves["validation"]), color=colour)
            ax.plot(epochs, floats(curves[name]), "--", color=colour)
            ax.set_xlabel("epoch")
    if slug in ("rises", "slow"):
        ax.axhspan(1e-4, 1e-2, color="#6b6b6b", alpha=0.15, lw=0)


def floats(values):
    return np.array([np.nan if v is None else v for v in values], float)


def draw(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    style = {
        "font.size": 9,
        "axes.titlesize": "medium",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "lines.linewidth": 1.3,
    }
    for slug, case in results["cases"].items():
        with plt.rc_context(style):
            figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.7))
            left.set_title("Loss of each step", loc="left")
            for which, colour in (("sick", SICK), ("cured", CURED)):
                found = case[which]["curves"]["loss"]
                y = floats(found["y"])
                ended = np.isfinite(y[0]) and not np.isfinite(y[-1])
                order = 3 if ended else 2
                left.plot(found["x"], y, color=colour, label=which, zorder=order)
                if ended:
                    last = int(np.flatnonzero(np.isfinite(y))[-1])
                    left.plot(found["x"][last], y[last], "x", color=colour, ms=8)
                    left.annotate(" NaN", (found["x"][last], y[last]), color=colour)
            left.set_yscale("log")
            left.set_xlabel("step")
            left.legend(frameon=False)
            evidence(right, slug, case)
            figure.savefig(folder / f"cure_{slug}.png", dpi=120)
            plt.close(figure)


def main():
    parser = argparse.ArgumentParser(
        description="Trainings that go wrong, and their cures."
    )
    parser.add_argument("--quick", action="store_true", help="a quick try in runs/")
    parser.add_argument("--only", nargs="+", choices=CASES, help="the others stay")
    parser.add_argument("--draw", action="store_true", help="only draw the figures")
    parser.add_argument(
        "--gains", nargs="*", metavar="NETWORK", help="only the table, or some of it"
    )
    given = parser.parse_args()
    folder = ROOT / ("runs/compare_cures" if given.quick else "docs")
    file = folder / "_data" / "cures.json"
    if given.gains is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gains.record(file.with_name("gains.json"), set(given.gains))
        return
    if not given.draw:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results, findings = compare(given.quick, given.only)
        if given.only and file.exists():
            known = (
                json.loads(file.read_text(encoding="utf-8"))["cases"] | results["cases"]
            )
            results["cases"] = {slug: known[slug] for slug in CASES if slug in known}
        write(results, file)
        (file.parent / "cures").mkdir(exist_ok=True)
        for slug, text in findings.items():
            (file.parent / "cures" / f"{slug}.txt").write_text(text, "utf-8")
    draw(json.loads(file.read_text(encoding="utf-8")), folder / "_images")
    print(f"{file}\n{folder / '_images'}")


if __name__ == "__main__":
    main()
