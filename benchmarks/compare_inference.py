"""The ladder of forms for two networks: numbers and pictures of the guide.

Not part of `make bench`: that a form is fast is shown by `bench_inference.py`; this
shows what it costs in accuracy. A small convolutional network with batch norm and
dropout, trained on 20,000 images of Fashion-MNIST, and MobileNetV2 with random weights.
Accuracy is that on 5,000 images which were not trained on; nothing is tuned, and the
test set is not used.

    python benchmarks/compare_inference.py --train      two minutes: trains and keeps
    python benchmarks/compare_inference.py              two minutes: measures
"""

import argparse
import platform
import runpy

import bench_inference
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from interleaved import machine
from keras import layers
from recording import ROOT, write

import keras_dnn
from keras_dnn.models import optimize_for_inference
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle, steps_in

TRAINED_ON, MEASURED_ON, EPOCHS, BATCH_SIZE = 20_000, 5_000, 5, 128
KEPT = ROOT / "runs" / "compare_inference" / "model.keras"


def block(filters):
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Dropout(0.1),
    ]


def network():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *block(16),
            *block(32),
            layers.Flatten(),
            layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )


def images():
    code = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))
    (x, y), _ = code["load"](full=True)
    return (x[:TRAINED_ON], y[:TRAINED_ON]), (x[-MEASURED_ON:], y[-MEASURED_ON:])


def train():
    keras.utils.set_random_seed(1)
    (x, y), _ = images()
    model = network()
    rate = OneCycle(0.1, steps_in(EPOCHS, x, BATCH_SIZE))
    model.compile(
        Nesterov(rate, momentum=rate.momentum()),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=2)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    model.save(KEPT)


def measure():
    model = keras.saving.load_model(KEPT)
    _, (x, y) = images()
    given = {"labels": y, "max_accuracy_loss": 0.005, "verbose": 0}
    results = {
        "own, 1 image": optimize_for_inference(model, x, **given),
        "own, 64 images": optimize_for_inference(model, x, batch_size=64, **given),
        "MobileNetV2, 1 image": optimize_for_inference(
            bench_inference.network(), bench_inference.images(), rounds=15, verbose=0
        ),
    }
    for name, result in results.items():
        print(f"\n{name}\n{result}", flush=True)
    folder = ROOT / "docs" / "_images"
    for name, file in (("own, 1 image", "own"), ("MobileNetV2, 1 image", "mobilenet")):
        figure = results[name].plot()
        figure.savefig(folder / f"inference_{file}.png", dpi=110)
        plt.close(figure)
    found = {
        "setting": {
            "data": "Fashion-MNIST",
            "trained_on": TRAINED_ON,
            "measured_on": MEASURED_ON,
            "epochs": EPOCHS,
            "parameters": model.count_params(),
            "machine": machine(),
        },
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "keras_dnn": keras_dnn.__version__,
        },
        "ladders": {name: result.to_dict() for name, result in results.items()},
    }
    write(digits(found), ROOT / "docs" / "_data" / "inference.json")


def digits(found):
    """Numbers to four digits."""
    return keras.tree.map_structure(
        lambda v: float(f"{v:.4g}") if isinstance(v, float) else v, found
    )


def main():
    parser = argparse.ArgumentParser(description="Measures the forms of two networks.")
    parser.add_argument("--train", action="store_true", help="train the small network")
    if parser.parse_args().train:
        train()
    else:
        measure()


if __name__ == "__main__":
    main()
