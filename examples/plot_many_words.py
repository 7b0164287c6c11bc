"""
A softmax over every word
=========================

A small network reads five words of a book and says which comes next: one class for each
word. It is trained with a softmax over all words and with a hierarchical one, which
computes only the clusters of words and the cluster that the next word is in.
"""

# %%
# Words
# -----
# One book of the King James Bible lies beside this script. ``load(full=True)`` reads
# all books, where Debian's package is installed: ``apt-get install bible-kjv``. Words
# are numbered by the alphabet; 0 stands for the two ends of a verse.

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
print(f"{len(words)} classes, {len(x)} words to learn from, {len(x_valid)} held out")

# %%
# Two output layers
# -----------------
# How often each word occurs puts frequent words in clusters with their like.


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
# Among so many words that are equally probable the network is undecided, on average.

epochs = np.arange(1, len(full) + 1)
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(epochs, full, "k-o", label="full softmax")
axes.plot(epochs, hierarchical, "C0--o", label="HierarchicalSoftmax")
axes.set(xlabel="epoch", ylabel="perplexity of verses held out", xticks=epochs)
axes.legend()

# %%
# What comes next
# ---------------
# The best three words without the probabilities of all the others.

best = HierarchicalTopK(head, k=3)
top = keras.Sequential([keras.Input((CONTEXT,)), *model.layers[:-1], best])
for text in ("and he said unto them", "and they came to the", "and in the morning as"):
    given = np.array([[number[word] for word in text.split()]])
    probabilities, classes = top.predict(given, verbose=0)
    found = zip(classes[0], probabilities[0], strict=True)
    print(
        f"{text} ...", *(f"{words[c] or '(end)'} {p:.0%}" for c, p in found), sep="  "
    )
