"""Words of the Bible: the accuracies that the guide "Many classes" reports.

Not part of `make bench`: it compares how well networks learn, not how fast they run.

A network sees six words and predicts the next of some 12,800, as a distribution: an
embedding, a hidden layer, and a softmax over all words or a hierarchical one. The
clusters of the latter are made from the words that precede a word, by the frequency of
words, or by the alphabet. Every tenth verse is held out. Everything else is the same,
and nothing is tuned: three epochs, one seed. The held-out verses are evaluated after
each half epoch, and the lowest perplexities are compared.

    python benchmarks/compare_hierarchical_softmax.py           in ten minutes
    python benchmarks/compare_hierarchical_softmax.py --quick   a short trial in `runs/`
    python benchmarks/compare_hierarchical_softmax.py --draw    redraws the figure
"""

import os
import runpy
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from recording import ROOT, record, versions

from keras_dnn.layers import HierarchicalCrossentropy, HierarchicalSoftmax
from keras_dnn.optimizers import Adam

CONTEXT, EMBEDDED, UNITS = 6, 48, 96
BATCH_SIZE, RATE, SEED, EPOCHS, PARTS = 512, 0.002, 11, 3, 2
FULL, BEFORE = "full softmax", "by the words before"
FREQUENCY, ALPHABET = "by frequency", "by the alphabet"

# Of Okabe and Ito's palette, which colour-blind readers can tell apart.
STYLES = {
    FULL: ("#000000", "-"),
    BEFORE: ("#009E73", "-."),
    FREQUENCY: ("#0072B2", "--"),
    ALPHABET: ("#D55E00", ":"),
}


def examples(verses, number):
    """Six words and the next, for each word of each verse; 0 marks its ends."""
    contexts, following = [], []
    for verse in verses:
        line = [0] * CONTEXT + [number[word] for word in verse] + [0]
        for i in range(CONTEXT, len(line)):
            contexts.append(line[i - CONTEXT : i])
            following.append(line[i])
    return np.array(contexts, "int32"), np.array(following, "int32")


def data(full):
    load = runpy.run_path(str(ROOT / "examples" / "bible_text.py"))["load"]
    verses = load(full)
    words = sorted({word for verse in verses for word in verse})
    number = {word: i for i, word in enumerate(words, start=1)}
    held_out = verses[::10]
    del verses[::10]
    return len(words) + 1, examples(verses, number), examples(held_out, number)


def clusters_by_words_before(before, words, n_classes, features=500):
    """Clusters of words that follow each of the most frequent words equally often."""
    frequent = np.argsort(-np.bincount(before, minlength=n_classes))[:features]
    feature = np.full(n_classes, -1)
    feature[frequent] = np.arange(features)
    known = feature[before] >= 0
    counts = np.zeros((n_classes, features))
    np.add.at(counts, (words[known], feature[before[known]]), 1)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return halved(np.sqrt(fractions), round(np.log2(4 * np.sqrt(n_classes))))


def halved(rows, times):
    """Clusters from repeated halving, along the direction of the largest variance."""
    groups = [np.arange(len(rows))]
    for _ in range(times):
        halves = []
        for group in groups:
            centred = rows[group] - rows[group].mean(axis=0)
            direction = np.linalg.svd(centred, full_matrices=False)[2][0]
            halves += np.array_split(group[np.argsort(centred @ direction)], 2)
        groups = halves
    clusters = np.empty(len(rows), int)
    for number, group in enumerate(groups):
        clusters[group] = number
    return clusters


def network(name, n_classes, x, y):
    if name == FULL:
        head = layers.Dense(n_classes, activation="softmax")
        loss = "sparse_categorical_crossentropy"
    else:
        given = {}
        if name == FREQUENCY:
            given["frequencies"] = np.bincount(y, minlength=n_classes)
        if name == BEFORE:
            given["clusters"] = clusters_by_words_before(x[:, -1], y, n_classes)
        head = HierarchicalSoftmax(n_classes, **given)
        loss = HierarchicalCrossentropy()
    model = keras.Sequential(
        [
            keras.Input((CONTEXT,)),
            layers.Embedding(n_classes, EMBEDDED),
            layers.Flatten(),
            layers.Dense(UNITS, activation="relu"),
            head,
        ]
    )
    model.compile(Adam(RATE, sparse="lazy"), loss)
    return model


class Clock(keras.callbacks.Callback):
    """Measures the time of each training step."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def train(name, n_classes, training, held_out):
    keras.utils.set_random_seed(SEED)
    model, clock = network(name, n_classes, *training), Clock()
    rng = np.random.default_rng(SEED)
    orders = [rng.permutation(len(training[1])) for _ in range(EPOCHS)]
    words, perplexity, seconds = [], [], []
    for part in (p for order in orders for p in np.array_split(order, PARTS)):
        model.fit(
            *(values[part] for values in training),
            batch_size=BATCH_SIZE,
            callbacks=[clock],
            verbose=0,
        )
        loss = model.evaluate(*held_out, batch_size=BATCH_SIZE, verbose=0)
        words.append(len(part) + sum(words[-1:]))
        perplexity.append(round(float(np.exp(loss)), 2))
        seconds += clock.seconds
        print(f"{name:19} {words[-1]:7} words  perplexity {perplexity[-1]}", flush=True)
    milliseconds = round(1e3 * float(np.median(seconds)), 2)
    print(f"{name:19} {milliseconds} ms a step", flush=True)
    return {"words": words, "perplexity": perplexity, "milliseconds": milliseconds}


def compare(quick):
    n_classes, training, held_out = data(full=not quick)
    trained = {name: train(name, n_classes, training, held_out) for name in STYLES}
    lowest = {name: min(run["perplexity"]) for name, run in trained.items()}
    return {
        "setting": {
            "data": "Gospel according to Mark" if quick else "King James Bible",
            "classes": n_classes,
            "training_words": len(training[1]),
            "words_held_out": len(held_out[1]),
            "context": CONTEXT,
            "embedding": EMBEDDED,
            "units": UNITS,
            "batch_size": BATCH_SIZE,
            "epochs": EPOCHS,
            "optimizer": f'Adam({RATE}, sparse="lazy")',
            "seed": SEED,
        },
        "versions": versions(),
        "against_full": {
            name: round(p / lowest[FULL] - 1, 4) for name, p in lowest.items()
        },
        "runs": trained,
    }


def draw(results, folder):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
    for place, (name, (colour, line)) in enumerate(STYLES.items()):
        run = results["runs"][name]
        words = np.array(run["words"]) / 1000
        left.plot(words, run["perplexity"], line, color=colour, marker="o", label=name)
        right.bar(place, run["milliseconds"], 0.6, color=colour)
        right.text(
            place,
            run["milliseconds"],
            f"{run['milliseconds']:.0f}",
            ha="center",
            va="bottom",
        )
    left.set(xlabel="thousand words seen", ylabel="perplexity of held-out verses")
    left.legend(frameon=False)
    right.set(ylabel="milliseconds per training step")
    right.set_xticks(
        range(len(STYLES)), [name.replace(" ", "\n", 1) for name in STYLES]
    )
    figure.savefig(folder / "many_classes.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    record("many_classes", "Words of the Bible.", compare, draw)
