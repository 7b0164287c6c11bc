"""The benefit of pre-training with few labels, as the guide "Few labels" reports it.

Not part of `make bench`: it compares how well networks learn, not how fast they run.

Each method pre-trains a small convolutional encoder on all 60,000 images of
Fashion-MNIST without labels, and then trains it on 50, 200 or 1,000 of them with
labels, the same for all and the same number of each class. The siamese network uses the
labelled images only. Every training has the same optimizer and rate, except that of a
head alone, which would learn too slowly; the numbers of steps and epochs fit into a
quarter of an hour. Nothing else is tuned, and there is no early stopping, since 50
labels leave none for validation. Each of the three seeds draws other labelled images
and weights.

    python benchmarks/compare_pretraining.py            about twelve minutes on one core
    python benchmarks/compare_pretraining.py --quick    a quick trial in `runs/`
    python benchmarks/compare_pretraining.py --draw     the chart from the numbers
"""

import argparse
import json
import runpy
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from recording import CHART, ROOT, versions, write

from keras_dnn import pretraining
from keras_dnn.models import reuse_layers

EPOCHS, BATCH_SIZE = 3, 128
LABELS = (50, 200, 1_000)
STEPS, FEW = 800, 32
SEEDS = (11, 12, 13)
RATE, HEAD_RATE = 0.001, 0.01
NOISE = 0.3
SCRATCH, SIAMESE = "from scratch", "siamese"
CLASSES = "sparse_categorical_crossentropy"
BINARY = "binary_crossentropy"


def encoder():
    conv = {"strides": 2, "padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(filters, 3, **conv) for filters in (8, 16, 32)),
            layers.Flatten(),
            layers.Dense(64, "relu", name="code"),
        ],
        name="encoder",
    )


def generator():
    conv = {"strides": 2, "padding": "same"}
    return keras.Sequential(
        [
            keras.Input((32,)),
            layers.Dense(7 * 7 * 16, "relu"),
            layers.Reshape((7, 7, 16)),
            layers.Conv2DTranspose(8, 4, activation="relu", **conv),
            layers.Conv2DTranspose(1, 4, activation="sigmoid", **conv),
        ],
        name="generator",
    )


def gan(lower):
    output = layers.Dense(1, "sigmoid", name="output")
    return pretraining.gan(generator(), keras.Sequential([lower, output]))


# The model around an encoder, and its loss.
METHODS = {
    "autoencoder": (pretraining.autoencoder, "mse"),
    "denoising": (lambda e: pretraining.autoencoder(e, noise=NOISE), "mse"),
    "stacked": (None, "mse"),
    "masking": (pretraining.masking, "mse"),
    "rotation": (pretraining.rotation, CLASSES),
    "GAN": (gan, BINARY),
    SIAMESE: (pretraining.siamese, BINARY),
}


class Trainer:
    """Models of one kind, trained one after another and traced only once."""

    def __init__(self, make, loss, rate=RATE):
        self.make, self.loss, self.rate, self.model = make, loss, rate, None

    def train(self, weights, *data, **fit):
        """Trains an encoder from these weights and returns its new weights."""
        lower = encoder()
        lower.set_weights(weights)
        model = self.make(lower)
        if self.model is None:
            self.encoder, self.model = lower, model
            self.model.compile(keras.optimizers.Adam(self.rate), self.loss)
            self.model.optimizer.build(self.model.trainable_variables)
            self.initial_state = [v.numpy() for v in self.model.optimizer.variables]
        else:
            self.model.set_weights(model.get_weights())
            for variable, value in zip(
                self.model.optimizer.variables, self.initial_state, strict=True
            ):
                variable.assign(value)
        self.model.fit(*data, verbose=0, **fit)
        return self.encoder.get_weights()


def stacked(weights, x, epochs):
    """Three convolutions and a dense layer, one after another."""
    lower = encoder()
    lower.set_weights(weights)
    for stage in pretraining.stacked_autoencoder(lower):
        stage.compile(keras.optimizers.Adam(RATE), "mse")
        stage.fit(x, epochs=epochs, batch_size=BATCH_SIZE, verbose=0)
    return lower.get_weights()


def with_head(lower):
    return reuse_layers(lower, "code", layers.Dense(10, "softmax"), freeze=False)


def only_head(lower):
    features = keras.Input((lower.output_shape[-1],))
    return keras.Model(features, layers.Dense(10, "softmax")(features))


def drawn(labels, n, seed):
    """Indices of the labelled images, the same number of each class."""
    generator = np.random.default_rng(seed)
    by_class = [generator.permutation(np.flatnonzero(labels == c)) for c in range(10)]
    return np.concatenate([rows[: n // 10] for rows in by_class])


class Comparison:
    def __init__(self, quick):
        load = runpy.run_path(str(ROOT / "examples" / "fashion_mnist.py"))
        (self.x, self.y), self.test = load["load"](full=True)
        self.epochs, self.steps, self.seeds = EPOCHS, STEPS, SEEDS
        if quick:
            self.x, self.y = self.x[:2_000], self.y[:2_000]
            self.epochs, self.steps, self.seeds = 1, 50, SEEDS[:2]
        self.trainers = {name: Trainer(*method) for name, method in METHODS.items()}
        self.fine_tuning = Trainer(with_head, CLASSES)
        self.head = Trainer(only_head, CLASSES, HEAD_RATE)
        self.features = encoder()
        self.seconds = {name: [] for name in METHODS}

    def pretrained(self, name, start, rows, seed):
        trainer, start_time = self.trainers[name], time.process_time()
        if name == SIAMESE:
            pairs = pretraining.Pairs(
                self.x[rows], self.y[rows], 64, batches=self.steps, seed=seed
            )
            weights = trainer.train(start, pairs)
        elif name == "stacked":
            weights = stacked(start, self.x, self.epochs)
        else:
            fit = {"epochs": self.epochs, "batch_size": BATCH_SIZE}
            weights = trainer.train(start, self.x, **fit)
        self.seconds[name].append(time.process_time() - start_time)
        return weights

    def accuracies(self, weights, rows, seed):
        """Test accuracies after training all layers and only the head."""
        order = np.random.default_rng(seed).permuted(
            np.tile(rows, (-(-self.steps * FEW // len(rows)), 1)), axis=1
        )
        order = order.ravel()[: self.steps * FEW]
        once = {"batch_size": FEW, "shuffle": False}
        self.features.set_weights(weights)
        labelled, unlabelled = (
            self.features.predict(x, batch_size=1_000, verbose=0)
            for x in (self.x[rows], self.test[0])
        )
        index = {row: i for i, row in enumerate(rows)}
        labelled = labelled[[index[row] for row in order]]
        found = {}
        self.fine_tuning.train(weights, self.x[order], self.y[order], **once)
        self.head.train(weights, labelled, self.y[order], **once)
        for name, trainer, x in (
            ("fine-tuned", self.fine_tuning, self.test[0]),
            ("frozen", self.head, unlabelled),
        ):
            predictions = trainer.model.predict(x, batch_size=1_000, verbose=0)
            right = predictions.argmax(axis=1) == self.test[1]
            found[name] = round(float(right.mean()), 4)
        return found

    def run(self):
        scores = {
            name: {n: {"fine-tuned": [], "frozen": []} for n in LABELS}
            for name in (SCRATCH, *METHODS)
        }
        for seed in self.seeds:
            keras.utils.set_random_seed(seed)
            start = encoder().get_weights()
            for name, by_labels in scores.items():
                weights = start if name == SCRATCH else None
                for n, by_use in by_labels.items():
                    rows = drawn(self.y, n, seed)
                    # The same head and the same order of images for each method.
                    if weights is None or name == SIAMESE:
                        keras.utils.set_random_seed(seed)
                        weights = self.pretrained(name, start, rows, seed)
                    keras.utils.set_random_seed(seed)
                    for use, score in self.accuracies(weights, rows, seed).items():
                        by_use[use].append(score)
                print(seed, name, by_labels, flush=True)
        return scores

    def results(self):
        scores = self.run()
        return {
            "setting": {
                "data": "Fashion-MNIST",
                "unlabelled_images": len(self.x),
                "epochs": self.epochs,
                "labels": list(LABELS),
                "steps": self.steps,
                "test_images": len(self.test[0]),
                "learning_rate": RATE,
                "learning_rate_of_a_head_alone": HEAD_RATE,
                "noise": NOISE,
                "seeds": list(self.seeds),
                "encoder_parameters": self.features.count_params(),
            },
            "versions": versions(),
            "seconds": {
                name: round(float(np.mean(seconds)), 1)
                for name, seconds in self.seconds.items()
            },
            "test_accuracy": {
                name: {
                    str(n): {use: summary(found) for use, found in by_use.items()}
                    for n, by_use in by_labels.items()
                }
                for name, by_labels in scores.items()
            },
        }

    def example_images(self):
        """Rows of images: inputs and outputs of the models."""
        x = self.test[0][:10]
        noisy = x + np.random.default_rng(1).normal(0, NOISE, x.shape)
        models = {name: trainer.model for name, trainer in self.trainers.items()}
        masks = models["masking"].get_layer("mask")(x)
        noise = np.random.default_rng(1).normal(size=(10, 32))
        return {
            "images": x,
            "autoencoder": models["autoencoder"].predict(x, verbose=0),
            "noisy": noisy,
            "denoised": models["denoising"].predict(noisy, verbose=0),
            "hidden": np.where(masks, 0.5, x),
            "filled in": models["masking"].predict(x, verbose=0),
            "generated": models["GAN"].generator.predict(noise, verbose=0),
        }


def summary(scores):
    return {
        "runs": scores,
        "mean": round(float(np.mean(scores)), 4),
        "std": round(float(np.std(scores, ddof=1)), 4),
    }


def draw_scores(results, folder):
    scores = results["test_accuracy"]
    # From Okabe and Ito's palette, which colour-blind readers can distinguish.
    styles = {"fine-tuned": ("#0072B2", "o", -0.17), "frozen": ("#D55E00", "s", 0.17)}
    figure, axes = plt.subplots(1, len(LABELS), figsize=(10, 4), sharey=True)
    for n, ax in zip(LABELS, axes, strict=True):
        for use, (colour, marker, shift) in styles.items():
            for row, by_labels in enumerate(scores.values()):
                runs = 100 * np.array(by_labels[str(n)][use]["runs"])
                at = np.full(len(runs), row + shift)
                ax.plot(runs, at, marker, color=colour, alpha=0.5, ms=5, mew=0)
                ends = row + shift - 0.15, row + shift + 0.15
                ax.vlines(runs.mean(), *ends, color=colour, lw=2)
        # The accuracy without pre-training.
        mean = 100 * scores[SCRATCH][str(n)]["fine-tuned"]["mean"]
        ax.axvline(mean, color=styles["fine-tuned"][0], ls=":", lw=1)
        ax.set_title(f"{n:,} labels", loc="left")
        ax.set_xlabel("test accuracy (%)")
        ax.set_yticks(range(len(scores)), list(scores))
        ax.grid(axis="x", alpha=0.25)
    axes[0].invert_yaxis()
    handles = [
        plt.Line2D([], [], color=colour, marker=marker, ls="", label=use)
        for use, (colour, marker, _) in styles.items()
    ]
    figure.legend(handles=handles, frameon=False, ncols=2, loc="outside upper right")
    save(figure, folder / "few_labels.png")


def draw_images(rows, folder):
    figure, axes = plt.subplots(len(rows), 10, figsize=(7, 0.72 * len(rows)))
    for (name, images), line in zip(rows.items(), axes, strict=True):
        for image, ax in zip(images, line, strict=True):
            ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
            ax.axis("off")
        line[0].text(-4, 14, name, ha="right", va="center", fontsize=9)
    save(figure, folder / "few_labels_images.png")


def save(figure, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description="Pre-training where labels are few.")
    parser.add_argument("--quick", action="store_true", help="a quick trial in runs/")
    parser.add_argument("--draw", action="store_true", help="only draw the chart")
    options = parser.parse_args()
    folder = ROOT / "runs" / "compare_pretraining" if options.quick else ROOT / "docs"
    numbers, images = folder / "_data" / "pretraining.json", folder / "_images"
    with plt.rc_context(CHART):
        if not options.draw:
            comparison = Comparison(options.quick)
            write(comparison.results(), numbers)
            draw_images(comparison.example_images(), images)
        draw_scores(json.loads(numbers.read_text(encoding="utf-8")), images)
    print(f"{numbers}\n{images}")


if __name__ == "__main__":
    main()
