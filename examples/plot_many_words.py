"""
A softmax over every word
=========================

A small network reads five words of a book and predicts the next: each word is a class.
It is trained with a softmax over all words, and with a hierarchical one that computes
only the probabilities of clusters of words and those inside the next word's cluster.
"""

# %%
# Words
# -----
# One book of the King James Bible comes with this script. ``load(full=True)`` reads all
# books if Debian's package is installed: ``apt-get install bible-kjv``. Words are
# numbered alphabetically; 0 marks the start and the end of a verse.

import bible_text
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from keras_dnn.layers import (
    HierarchicalCrossentropy,
    HierarchicalSoftmax,
    HierarchicalTopK,
)
from keras_dnn.optimizers import Adam

CONTEXT = 5
verses = bible_text.load()
words = ["", *sorted({word for verse in verses for word in verse})]
number = {word: i for i, word in enumerate(words)}


def examples(verses):
    contexts, following = [], []
    for verse in verses:
        line = [0] * CONTEXT + [number[word] for word in verse] + [0]
        for i in range(CONTEXT, len(line)):
            contexts.append(line[i - CONTEXT : i])
            following.append(line[i])
    return np.array(contexts), np.array(following)


x_valid, y_valid = examples(verses[::10])
x, y = examples([verse for i, verse in enumerate(verses) if i % 10])
print(f"{len(words)} classes, {len(x)} words to train on, {len(x_valid)} to validate")

# %%
# Two output layers
# -----------------
# The word counts let the layer group words of similar frequency into clusters.


def fit(head, loss):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((CONTEXT,)),
            layers.Embedding(len(words), 24),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            head,
        ]
    )
    model.compile(Adam(0.003, sparse="lazy"), loss)
    history = model.fit(
        x,
        y,
        batch_size=64,
        epochs=4,
        validation_data=(x_valid, y_valid),
        verbose=2,
    ).history
    return model, np.exp(history["val_loss"])


frequencies = np.bincount(y, minlength=len(words))
head = HierarchicalSoftmax(len(words), frequencies=frequencies)
model, hierarchical = fit(head, HierarchicalCrossentropy())
_, full = fit(
    layers.Dense(len(words), activation="softmax"), "sparse_categorical_crossentropy"
)

# %%
# Perplexity
# ----------
# The number of equally probable words among which the network, on average, hesitates.

epochs = np.arange(1, len(full) + 1)
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(epochs, full, "k-o", label="full softmax")
axes.plot(epochs, hierarchical, "C0--o", label="HierarchicalSoftmax")
axes.set(xlabel="epoch", ylabel="perplexity of validation verses", xticks=epochs)
axes.legend()

# %%
# The next word
# -------------
# The three most probable words, without computing the probabilities of all the others.

best = HierarchicalTopK(head, k=3)
top = keras.Sequential([keras.Input((CONTEXT,)), *model.layers[:-1], best])
for text in ("and he said unto them", "and they came to the", "and in the morning as"):
    given = np.array([[number[word] for word in text.split()]])
    probabilities, classes = top.predict(given, verbose=0)
    found = zip(classes[0], probabilities[0], strict=True)
    print(
        f"{text} ...", *(f"{words[c] or '(end)'} {p:.0%}" for c, p in found), sep="  "
    )
