"""The candidates for two networks: numbers and figures of the guide.

Not part of `make bench`: that a candidate is fast is shown by `bench_inference.py`;
this shows what it costs in accuracy. A small convolutional network with batch norm and
dropout, trained on 20,000 images of Fashion-MNIST, and MobileNetV2 with random weights.
Accuracy is measured on 5,000 images that were not trained on; nothing is tuned, and the
test set is not used.

    python benchmarks/compare_inference.py --train    two minutes: trains and saves
    python benchmarks/compare_inference.py            two minutes: measures
    python benchmarks/compare_inference.py --draw     the figures from the numbers
"""

import argparse
import json
import runpy

import bench_inference
import keras
import matplotlib.pyplot as plt
from interleaved import machine
from keras import layers
from recording import ROOT, versions, write

from keras_dnn.models import Candidate, InferenceResult, optimize_for_inference
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle, steps_in

TRAINED_ON, MEASURED_ON, EPOCHS, BATCH_SIZE = 20_000, 5_000, 5, 128
SAVED = ROOT / "runs" / "compare_inference" / "model.keras"
NUMBERS = ROOT / "docs" / "_data" / "inference.json"


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
    SAVED.parent.mkdir(parents=True, exist_ok=True)
    model.save(SAVED)


def measure():
    model = keras.saving.load_model(SAVED)
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
    found = {
        "setting": {
            "data": "Fashion-MNIST",
            "trained_on": TRAINED_ON,
            "measured_on": MEASURED_ON,
            "epochs": EPOCHS,
            "parameters": model.count_params(),
            "machine": machine(),
        },
        "versions": versions(),
        "results": {name: result.to_dict() for name, result in results.items()},
    }
    write(digits(found), NUMBERS)
    draw()


def draw():
    results = json.loads(NUMBERS.read_text("utf-8"))["results"]
    for name, file in (("own, 1 image", "own"), ("MobileNetV2, 1 image", "mobilenet")):
        found = results[name]
        candidates = tuple(Candidate(**each) for each in found["candidates"])
        result = InferenceResult(
            **{**found, "candidates": candidates, "predictor": None}
        )
        figure = result.plot()
        path = ROOT / "docs" / "_images" / f"inference_{file}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)


def digits(found):
    """Numbers to four digits."""
    return keras.tree.map_structure(
        lambda v: float(f"{v:.4g}") if isinstance(v, float) else v, found
    )


def main():
    parser = argparse.ArgumentParser(description="Measures two networks.")
    parser.add_argument("--train", action="store_true", help="train the small network")
    parser.add_argument("--draw", action="store_true", help="draw the numbers again")
    arguments = parser.parse_args()
    if arguments.train:
        train()
    elif arguments.draw:
        draw()
    else:
        measure()


if __name__ == "__main__":
    main()
