"""What folds in the networks of keras.applications: the table of the guide.

Not part of `make bench`: it counts batch norms and measures how far the outputs of the
folded networks are from those of the networks they were made of. All have random
weights and random statistics, and no softmax. Differences are fractions of the outputs'
standard deviation, on two images of random pixels from 0 to 255. The first is that
between the two networks, both run in float64; the second is that between the original
network run in float32 and in float64, which is due to rounding alone. Seconds are those
of the fold itself, which measures on normal noise.

    python benchmarks/compare_folding.py            about two minutes
    python benchmarks/compare_folding.py --quick    two of the networks, not recorded
"""

import time

import keras
import numpy as np
from bench_folding import trained
from interleaved import machine
from recording import record

from keras_dnn.models import fold_batch_norm, rebuild

# How many batch norms may stay at most, and how many seconds the fold may take.
NETWORKS = {
    "ResNet50": (0, 2),
    "MobileNet": (0, 2),
    "MobileNetV2": (0, 2),
    "MobileNetV3Small": (0, 2),
    "EfficientNetB0": (0, 2),
    "EfficientNetV2B0": (0, 2),
    "Xception": (0, 2),
    "InceptionV3": (0, 2),
    "NASNetMobile": (4, 5),
    "ResNet50V2": (17, 2),
    "DenseNet121": (62, 2),
    "ConvNeXtTiny": (0, 2),
}
LARGEST = 1e-5


def fold(name):
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)
    model = trained(network(weights=None, classifier_activation=None))
    start = time.perf_counter()
    result = fold_batch_norm(model)
    seconds = time.perf_counter() - start
    shape = (2, *(n or 224 for n in model.input_shape[1:]))
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    max_error = fold_batch_norm(model, data=images).max_error
    row = {
        "folded": len(result.folded),
        "kept": len(result.kept),
        "affine_folded": len(result.affine_folded),
        "affine_kept": len(result.affine_kept),
        "layers_before": len(model.layers),
        "layers_after": len(result.model.layers),
        "max_error": two_digits(max_error),
        "max_error_on_noise": two_digits(result.max_error),
        "own_rounding": two_digits(own_rounding(model, images)),
        "seconds": round(seconds, 2),
    }
    kept, longest = NETWORKS[name]
    beyond = row["kept"] > kept or max_error > LARGEST or seconds > longest
    print(f"{name:16}", row, "BEYOND THE BOUNDS" * beyond, flush=True)
    return row


def two_digits(number):
    return float(f"{number:.2g}")


def own_rounding(model, x):
    """How far a float32 network is from itself in float64."""
    exact = rebuild(model, dtype="float64")
    expected = np.asarray(exact(x.astype("float64"), training=False))
    return np.abs(model(x, training=False) - expected).max() / expected.std()


def compare(quick):
    names = ["MobileNetV2", "EfficientNetV2B0"] if quick else NETWORKS
    return {"machine": machine(), "networks": {name: fold(name) for name in names}}


def write_table(results, folder):
    lines = [
        "| network | batch norms | others | layers | difference | its own rounding |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results["networks"].items():
        norms, others = (
            f"{row[kind + 'folded']} of {total}" if total else "–"
            for kind in ("", "affine_")
            for total in [row[kind + "folded"] + row[kind + "kept"]]
        )
        lines.append(
            f"| {name} | {norms} | {others} | {row['layers_before']} → "
            f"{row['layers_after']} | {row['max_error']:.0e} | "
            f"{row['own_rounding']:.0e} |"
        )
    file = folder.parent / "_data" / "folding.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record("folding", "What folds in well-known networks.", compare, write_table)
