"""Three networks seen from inside: the figure of the guide "Seeing into training".

Not part of `make bench`: it shows what probes see, not how fast they run.

Twelve dense layers of 64 units on 12,800 images of Fashion-MNIST, three epochs of
Nesterov. They differ in activation and initial weights only: sigmoid with Glorot's
(the gradient vanishes), ReLU with 1.2 times He's standard deviation (it explodes), and
ReLU with He's.

    python benchmarks/compare_networks.py            about a minute on one core
"""

import json

import keras
import matplotlib.pyplot as plt
import numpy as np
from compare_optimizers import ROOT, data
from matplotlib.colors import LogNorm

from keras_dnn.callbacks import ActivationStatistics, GradientNorms
from keras_dnn.optimizers import Nesterov

DOCS = ROOT / "docs"
DEPTH, UNITS, IMAGES, EPOCHS, BATCH_SIZE = 12, 64, 12_800, 3, 64
# Steps in the figure: by then one network has only NaN left.
SHOWN = 20
BLUE, GREY = "#2066a8", "#6b6b6b"
EXPLODING = keras.initializers.VarianceScaling(3.0, "fan_in", "untruncated_normal", 1)
NETWORKS = {
    "vanishing: sigmoid, Glorot": ("sigmoid", "glorot_uniform"),
    "exploding: ReLU, 1.2 times He": ("relu", EXPLODING),
    "healthy: ReLU, He": ("relu", "he_normal"),
}


def train(activation, initializer, x, y):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((784,))])
    for i in range(1, DEPTH + 1):
        # An instance used twice would draw the same weights twice.
        fresh = initializer if isinstance(initializer, str) else initializer.clone()
        model.add(
            keras.layers.Dense(UNITS, activation, True, fresh, name=f"dense_{i:02}")
        )
    model.add(keras.layers.Dense(10, activation="softmax", name="classes"))
    model.compile(
        Nesterov(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    gradients = GradientNorms()
    activations = ActivationStatistics(x[:512])
    history = model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[gradients, activations],
    )
    return gradients, activations, history.history["accuracy"][-1]


def draw(seen):
    figure, axes = plt.subplots(
        3, 3, figsize=(10, 8.6), sharex="row", sharey="row", layout="constrained"
    )
    kernels = [
        i
        for i, name in enumerate(next(iter(seen.values()))[0].names)
        if "kernel" in name
    ]
    depth = np.arange(1, len(kernels) + 1)
    for column, (name, (gradients, activations, accuracy)) in enumerate(seen.items()):
        heat, ratio, stds = axes[:, column]
        norms = np.ma.masked_equal(gradients.norms[:SHOWN, kernels].T, 0)
        image = heat.imshow(
            np.ma.masked_invalid(norms),
            norm=LogNorm(1e-7, 1e5),
            aspect="auto",
            interpolation="nearest",
            extent=(0, SHOWN, len(kernels) + 0.5, 0.5),
        )
        heat.set_title(
            f"{name}\naccuracy {accuracy:.0%}", loc="left", fontsize="medium"
        )
        heat.set_xlabel("step")
        with np.errstate(all="ignore"):
            middle = np.nanmedian(gradients.ratios[:SHOWN, kernels], axis=0)
        ratio.axhspan(1e-4, 1e-2, color=BLUE, alpha=0.12, lw=0)
        ratio.semilogy(depth, middle, "o-", color=BLUE)
        ratio.set_ylim(1e-9, 1e4)
        for index, colour, label in (
            (0, GREY, "before training"),
            (-1, BLUE, "after"),
        ):
            stds.semilogy(
                depth, activations.stds[index], "o-", color=colour, label=label
            )
        stds.set_xlabel("layer")
        ratio.set_xlabel("layer")
    axes[0, 0].set_ylabel("layer")
    axes[1, 0].set_ylabel("median of update / weight")
    axes[2, 0].set_ylabel("std of activations")
    axes[2, 0].legend(frameon=False)
    figure.colorbar(image, ax=axes[0], label="gradient norm", aspect=12)
    for ax in axes[1:].ravel():
        ax.set_xticks(depth[::3])
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(DOCS / "_images" / "seeing_into_training.png", dpi=110)


def summary(gradients, activations, accuracy):
    kernels = ["kernel" in name for name in gradients.names]
    norms = gradients.norms[:, kernels]
    return {
        "accuracy": round(accuracy, 4),
        "first over last gradient norm, step 0": norms[0, 0] / norms[0, -1],
        "steps with finite gradients": int(np.isfinite(gradients.global_norms).sum()),
        "largest global norm": float(np.nanmax(gradients.global_norms)),
        "std of activations, before": activations.stds[0].tolist(),
        "dead units after, mean": float(activations.dead[-1].mean()),
    }


if __name__ == "__main__":
    x, y = data(IMAGES)["training"]
    seen = {name: train(*how, x, y) for name, how in NETWORKS.items()}
    draw(seen)
    found = {name: summary(*what) for name, what in seen.items()}
    (DOCS / "_data" / "networks.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
