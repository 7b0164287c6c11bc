"""
Search on the right scale, check the edges of the range, then compare
=====================================================================

A random search over learning rate, momentum and width of a small network on
Fashion-MNIST, with KerasTuner. Its ranges are wrong at first, and ``border_alarm`` says
so. Then the ranges are moved, then narrowed, and a test shows whether it helped.
"""

# %%
# Data
# ----
# 3,000 images to train on and 2,000 to validate on. The test set is kept for the end.

import tempfile

import fashion_mnist
import keras
import keras_tuner
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from keras_dnn.optimizers import Nesterov
from keras_dnn.tuning import (
    border_alarm,
    compare_predictions,
    log_uniform,
    narrow,
    one_minus_log_uniform,
)

(x, y), (x_test, y_test) = fashion_mnist.load()
mean, std = x.mean(), x.std()
x, x_test = ((images.reshape(-1, 784) - mean) / std for images in (x, x_test))
x_train, y_train, x_valid, y_valid = x[::2], y[::2], x[1::3], y[1::3]

# %%
# A scale for each hyperparameter
# -------------------------------
# The rate is searched on a logarithmic scale, and so is the distance of the momentum
# to 1. Each scale is called with KerasTuner's ``hp``. These rates are too low on
# purpose.

learning_rate = log_uniform("learning_rate", 1e-4, 2e-3)
momentum = one_minus_log_uniform("momentum", 0.5, 0.95)


def build(hp):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(
                hp.Int("units", 16, 128, step=16),
                activation="relu",
                kernel_initializer="he_normal",
            ),
            layers.Dense(10, activation="softmax"),
        ]
    )
    # Compiling with XLA would take longer than this short training.
    model.compile(
        Nesterov(learning_rate(hp), momentum=momentum(hp), fused=False),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


# %%
# What a scale changes
# --------------------
# Of a thousand momenta between 0.9 and 0.999, how many average over more than a hundred
# steps?


def above(sample, seeds=1000):
    hp = keras_tuner.HyperParameters()
    sample(hp)
    (inner,) = hp.space
    drawn = np.array([inner.random_sample(seed) for seed in range(seeds)])
    return np.mean((1 - drawn if "1 - " in inner.name else drawn) > 0.99)


print(f"uniform:          {above(lambda hp: hp.Float('m', 0.9, 0.999)):.0%}")
print(f"log of 1 - beta:  {above(one_minus_log_uniform('m', 0.9, 0.999)):.0%}")

# %%
# Coarse
# ------
# Start with random search: it tries as many different values of each hyperparameter as
# it has trials, whereas a grid tries the same few again and again.

folder = tempfile.TemporaryDirectory()


def search(name, space=None):
    tuner = keras_tuner.RandomSearch(
        build,
        objective="val_accuracy",
        max_trials=6,
        seed=2,
        hyperparameters=space,
        directory=folder.name,
        project_name=name,
    )
    tuner.search(
        x_train,
        y_train,
        validation_data=(x_valid, y_valid),
        epochs=3,
        batch_size=64,
        validation_batch_size=500,
        verbose=0,
    )
    return tuner


coarse = search("coarse")
alarm = border_alarm(coarse)
print(alarm)
figure = alarm.plot()

# %%
# Move
# ----
# The best rate is at the upper edge. ``alarm.space`` holds the range beyond it, which
# replaces the one in ``build``.

moved = search("moved", alarm.space)
alarm = border_alarm(moved)
print(alarm)
figure = alarm.plot()

# %%
# Fine
# ----
# Around the best few trials, each range a third as wide on its own scale. So few trials
# are only a demonstration, and the seed was chosen for it: with another, the first
# search may not reach an edge, and the fine one may end lower. A real search has dozens
# of trials.

fine = search("fine", narrow(moved, factor=3))
figure = border_alarm(fine).plot()
tuners = {"coarse": coarse, "moved": moved, "fine": fine}
for name, tuner in tuners.items():
    best = tuner.get_best_hyperparameters()[0]
    score = tuner.oracle.get_best_trials()[0].score
    print(
        f"{name:7} {score:.1%}: rate {learning_rate(best):.2g}, momentum "
        f"{momentum(best):.3f}, {best['units']} units"
    )

# %%
# Compare
# -------
# The best score of a search is too optimistic: it was selected for being high. The test
# images were not used for that, and McNemar's test compares two networks by those
# images that only one of them classifies correctly.


def predictions(tuner):
    model = build(tuner.get_best_hyperparameters()[0])
    model.fit(x_train, y_train, epochs=3, batch_size=64, verbose=0)
    return model.predict(x_test, verbose=0)


predicted = {name: predictions(tuner) for name, tuner in tuners.items()}
better = compare_predictions(
    y_test, predicted["moved"], predicted["coarse"], names=("moved", "coarse")
)
print(better)
finer = compare_predictions(
    y_test, predicted["fine"], predicted["moved"], names=("fine", "moved")
)
print(finer)
figure, (one, other) = plt.subplots(2, 1, figsize=(6, 4.5), layout="constrained")
better.plot(ax=one)
finer.plot(ax=other)

folder.cleanup()
