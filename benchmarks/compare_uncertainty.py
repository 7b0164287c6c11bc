"""What a network does not know: the numbers and figures of the guide of that name.

Not part of `make bench`: it shows what uncertainty is worth, not how fast it is
computed.

A small convolutional network with dropout around its hidden dense layer is trained with
three seeds: on 30,000 images of Fashion-MNIST, and on 3,000 for long enough to make it
overconfident. Its predictions for the test set, with dropout off and with a hundred
Monte Carlo samples, give accuracy, calibration, and accuracy where the least certain
are rejected. Then come images of a kind that it never saw, letters and noise: how well
does each measure of uncertainty separate them from clothes? Last, how many stratified
samples are worth a hundred independent ones. Nothing is tuned; the test set is
evaluated once, at the end.

    python benchmarks/compare_uncertainty.py            about ten minutes on one core
    python benchmarks/compare_uncertainty.py --quick    a short trial in `runs/`
"""

import argparse
import runpy
import time
from pathlib import Path
from string import ascii_letters

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from PIL import Image, ImageDraw, ImageFont
from recording import ROOT, versions, write

from keras_dnn import plotting
from keras_dnn.models import calibration, mc_predict
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle, steps_in

# Images and epochs.
TRAININGS = {"30,000 images": (30_000, 12), "3,000 images": (3_000, 60)}
BATCH_SIZE = 128
SEEDS = (11, 12, 13)
SAMPLES = 100
KEPT = (0.95, 0.9, 0.8, 0.5)
"""Fractions of the test set, the most certain, whose accuracy is reported."""

FONTS = ("Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "Serif", "Serif-Italic")
"""Fonts of the DejaVu family, which comes with matplotlib."""


def network():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(
                16, 3, padding="same", activation="relu", kernel_initializer="he_normal"
            ),
            layers.MaxPooling2D(),
            layers.Conv2D(
                32, 3, padding="same", activation="relu", kernel_initializer="he_normal"
            ),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def letters():
    """Letters, white on black as the clothes are, in 28 × 28 pixels."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    images = []
    for name in FONTS:
        for size in (20, 25, 30):
            font = ImageFont.truetype(folder / f"DejaVu{name}.ttf", size)
            for letter in ascii_letters:
                image = Image.new("L", (28, 28))
                ImageDraw.Draw(image).text((14, 14), letter, 255, font, anchor="mm")
                images.append(np.asarray(image))
    return np.stack(images)[..., None].astype("float32") / 255


def noise(count):
    """Independent pixels, uniformly distributed."""
    generator = np.random.default_rng(1)
    return generator.uniform(size=(count, 28, 28, 1)).astype("float32")


def train(seed, x, y, epochs):
    keras.utils.set_random_seed(seed)
    model = network()
    rate = OneCycle(0.1, steps_in(epochs, x, BATCH_SIZE))
    model.compile(
        Nesterov(rate, momentum=rate.momentum(), fused=False),
        "sparse_categorical_crossentropy",
    )
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


def sampled(model, x):
    return mc_predict(model, x, SAMPLES, batch_size=500, seed=1, verbose=0)


def entropy(p):
    return -np.sum(p * np.log(np.maximum(p, 1e-30)), axis=-1)


def accuracy_of_the_most_certain(uncertainty, right):
    """The accuracy on the most certain fractions of the inputs."""
    order = np.argsort(uncertainty, kind="stable")
    return {
        f"{kept:g}": float(right[order[: round(kept * len(order))]].mean())
        for kept in (*KEPT, 1.0)
    }


def separation(known, foreign):
    """AUROC: how often a foreign input scores higher in a measure than a known one."""
    ordered = np.sort(known)
    below, up_to = (np.searchsorted(ordered, foreign, s) for s in ("left", "right"))
    return float((below + up_to).mean() / 2 / len(known))


def report_on(y, p, uncertainty):
    """The report on one set of predictions."""
    found = calibration(y, p)
    return {
        "accuracy": found.accuracy,
        "mean_confidence": found.mean_confidence,
        "expected_calibration_error": found.expected_calibration_error,
        "negative_log_likelihood": found.negative_log_likelihood,
        "brier_score": found.brier_score,
        "accuracy_of_the_most_certain": accuracy_of_the_most_certain(
            uncertainty, p.argmax(1) == y
        ),
    }


def measures(model, x):
    """The predictions with dropout off and on, and each measure of uncertainty."""
    plain = model.predict(x, batch_size=500, verbose=0).astype("float64")
    drawn = sampled(model, x)
    return (
        plain,
        drawn,
        {
            "off: entropy": entropy(plain),
            "on: entropy": drawn.entropy,
            "on: expected entropy": drawn.expected_entropy,
            "on: mutual information": drawn.mutual_information,
            "on: variation ratio": drawn.variation_ratio,
        },
    )


def errors_of_samples(model, x, repeats):
    """Mean squared errors of mean and entropy, by masks and number of samples."""
    limit = mc_predict(model, x, 20_000, batch_size=50, seed=99, verbose=0)
    found = {}
    for masks in ("independent", "stratified"):
        for samples in (25, 50, 100):
            drawn = [
                mc_predict(
                    model, x, samples, batch_size=500, masks=masks, seed=s, verbose=0
                )
                for s in range(repeats)
            ]
            found[f"{masks}, {samples}"] = {
                name: float(
                    np.mean(
                        [(getattr(d, name) - getattr(limit, name)) ** 2 for d in drawn]
                    )
                )
                for name in ("mean", "entropy")
            }
    return found


def run(seed, count, epochs, clothes, foreign):
    """Trains a network and reports on its predictions."""
    (x, y), (x_test, y_test) = clothes
    model = train(seed, x[:count], y[:count], epochs)
    plain, drawn, known = measures(model, x_test)
    unfamiliar = {name: measures(model, a) for name, a in foreign.items()}
    right = {"off": plain.argmax(1) == y_test, "on": drawn.mean.argmax(1) == y_test}
    report = {
        "dropout off": report_on(y_test, plain, known["off: entropy"]),
        "dropout on": report_on(y_test, drawn.mean, known["on: entropy"]),
        "confidence_on_foreign": {
            name: {"off": off.max(1).mean(), "on": on.mean.max(1).mean()}
            for name, (off, on, _) in unfamiliar.items()
        },
        "auroc_of_foreign": {
            name: {m: separation(known[m], values[m]) for m in values}
            for name, (_, _, values) in unfamiliar.items()
        },
        "auroc_of_errors": {
            m: separation(v[right[m.partition(":")[0]]], v[~right[m.partition(":")[0]]])
            for m, v in known.items()
        },
    }
    print(count, seed, report, flush=True)
    unfamiliar = {name: values for name, (_, _, values) in unfamiliar.items()}
    return report, model, (plain, drawn, known, unfamiliar)


def compare(quick, folder):
    start = time.perf_counter()
    code = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))
    clothes = code["load"](full=True)
    x_test, y_test = clothes[1]
    foreign = {"letters": letters(), "noise": noise(1000)}
    seeds = SEEDS[:2] if quick else SEEDS
    found, seen = {}, {}
    for name, (count, epochs) in TRAININGS.items():
        how = (count // 10, 2) if quick else (count, epochs)
        runs = []
        for seed in seeds:
            report, model, seen[name] = run(seed, *how, clothes, foreign)
            runs.append(report)
        found[name] = {
            "mean": keras.tree.map_structure(lambda *v: digits(np.mean(v)), *runs),
            "std": keras.tree.map_structure(
                lambda *v: digits(np.std(v, ddof=1)), *runs
            ),
        }
        if len(found) == 1:
            errors = errors_of_samples(model, x_test[:200], 2 if quick else 20)
    draw(code["CLASS_NAMES"], x_test, y_test, seen, folder / "_images")
    return {
        "setting": {
            "data": "Fashion-MNIST",
            "images_and_epochs": TRAININGS,
            "test_images": len(x_test),
            "foreign_images": {name: len(a) for name, a in foreign.items()},
            "parameters": model.count_params(),
            "batch_size": BATCH_SIZE,
            "samples": SAMPLES,
            "seeds": list(seeds),
        },
        "versions": versions(),
        "trainings": found,
        "errors_of_samples": keras.tree.map_structure(digits, errors),
        "seconds": round(time.perf_counter() - start),
    }


def digits(number):
    return float(f"{number:.4g}")


def draw(names, x, y, seen, folder):
    large, small = TRAININGS
    plain, drawn, known, unfamiliar = seen[large]
    right = drawn.mean.argmax(1) == y
    captions = [
        names[label] if hit else f"{names[label]},\nnot {names[guess]}"
        for label, guess, hit in zip(y, drawn.mean.argmax(1), right, strict=True)
    ]

    def groups(measure):
        """Clothes by whether they were recognised, and images of other things."""
        clothes = known[measure]
        return {"clothes, right": clothes[right], "clothes, wrong": clothes[~right]} | {
            name: values[measure] for name, values in unfamiliar.items()
        }

    bins = {
        name: (found.bin_confidences, found.bin_accuracies, found.bin_counts)
        for name, found in {
            "dropout off": calibration(y, seen[small][0]),
            "dropout on, 100 samples": calibration(y, seen[small][1]),
        }.items()
    }
    entropies = known["on: entropy"]
    figures = {
        "images": plotting.uncertain_images(x, drawn.mutual_information, captions),
        "reliability": plotting.reliability(bins),
        "rejection": plotting.rejection(
            {
                "dropout off, entropy": (known["off: entropy"], plain.argmax(1) == y),
                "dropout on, entropy": (entropies, right),
                "dropout on, mutual information": (drawn.mutual_information, right),
            }
        ),
        "entropy": plotting.uncertainties(groups("on: entropy")),
        "mutual_information": plotting.uncertainties(
            groups("on: mutual information"), "mutual information (nats)"
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"uncertainty_{name}.png", dpi=110)
        plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description="Measures what uncertainty is worth.")
    parser.add_argument("--quick", action="store_true", help="a short trial in runs/")
    given = parser.parse_args()
    folder = ROOT / "runs" / "compare_uncertainty" if given.quick else ROOT / "docs"
    numbers = folder / "_data" / "uncertainty.json"
    write(compare(given.quick, folder), numbers)
    print(f"{numbers}\n{folder / '_images'}")


if __name__ == "__main__":
    main()
