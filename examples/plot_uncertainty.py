"""
Uncertainty: what the data leaves open, what the model does not know
====================================================================

A classifier is unsure for two reasons. The classes may overlap, and no training would
help; or the input may be unlike anything in the training data. Predictions with dropout
on distinguish the two.
"""

# %%
# Data with an overlap and an empty region
# ----------------------------------------
# Two classes that overlap in the middle, with no data elsewhere.

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from keras_dnn.models import mc_predict
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle

keras.utils.set_random_seed(1)
generator = np.random.default_rng(1)
y = generator.integers(0, 2, 1000)
x = generator.normal(size=(1000, 2)) * (0.7, 1.0)
x[:, 0] += np.where(y == 1, 1.0, -1.0)

# %%
# A network with ordinary dropout
# -------------------------------
# :func:`~keras_dnn.models.mc_predict` needs no special layers.

model = keras.Sequential(
    [
        keras.Input((2,)),
        layers.Dense(64, activation="relu", kernel_initializer="he_normal"),
        layers.Dropout(0.2),
        layers.Dense(64, activation="relu", kernel_initializer="he_normal"),
        layers.Dropout(0.2),
        layers.Dense(2, activation="softmax"),
    ]
)
EPOCHS, BATCH_SIZE = 20, 50
rate = OneCycle(0.1, total_steps=EPOCHS * len(x) // BATCH_SIZE)
model.compile(
    optimizer=Nesterov(rate, momentum=rate.momentum()),
    loss="sparse_categorical_crossentropy",
)
history = model.fit(x, y, epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0)

# %%
# Two maps
# --------
# The entropy of the mean prediction is the sum of two parts. The expected entropy is
# high where the classes overlap: every sample says "half and half". The mutual
# information is high where the samples contradict one another: between the classes,
# but far from the data too.

side = np.linspace(-6, 6, 61)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
prediction = mc_predict(model, grid, batch_size=1024, seed=1, verbose=0)

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, name in zip(axes, ("expected_entropy", "mutual_information"), strict=True):
    values = getattr(prediction, name).reshape(61, 61)
    image = ax.pcolormesh(side, side, values, shading="nearest")
    figure.colorbar(image, ax=ax, label="nats")
    ax.scatter(
        *x.T, c=np.where(y == 1, "white", "tab:orange"), s=4, alpha=0.7, linewidths=0
    )
    ax.set_title(name.replace("_", " "), loc="left")

# %%
# Numbers instead of classes
# --------------------------
# For a regression there is a mean and a standard deviation. The training data leaves a
# gap between 0 and 2.

keras.utils.set_random_seed(2)
x = np.concatenate([generator.uniform(-3, 0, 300), generator.uniform(2, 4, 200)])
y = np.sin(2 * x) + 0.1 * generator.normal(size=x.size)

model = keras.Sequential(
    [
        keras.Input((1,)),
        layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
        layers.Dropout(0.05),
        layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
        layers.Dropout(0.05),
        layers.Dense(1),
    ]
)
EPOCHS = 100
rate = OneCycle(0.02, total_steps=EPOCHS * len(x) // BATCH_SIZE)
model.compile(optimizer=Nesterov(rate, momentum=rate.momentum()), loss="mse")
history = model.fit(x[:, None], y, epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0)

line = np.linspace(-5, 6, 221)
prediction = mc_predict(model, line[:, None], batch_size=221, seed=1, verbose=0)
mean, std = prediction.mean[:, 0], prediction.std[:, 0]

_, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
ax.plot(x, y, ".", color="0.4", markersize=3, label="training data")
ax.plot(line, mean, label="mean")
ax.fill_between(line, mean - 2 * std, mean + 2 * std, alpha=0.25, label="mean ± 2 std")
ax.legend(frameon=False)

# %%
# Two things to know before relying on such a band. It is the standard deviation of the
# network's predictions alone: it does not include the noise of the data, so it need not
# contain 95% of the points. And it measures how far the samples disagree, not how far
# away the data is: it widens beyond the data, but need not widen in a gap, where all
# samples may interpolate in the same way.

for name, chosen in {
    "where there was data": (line > -3) & (line < 0),
    "in the gap": (line > 0) & (line < 2),
    "beyond the data": (line < -3) | (line > 4),
}.items():
    print(f"standard deviation {name}: {std[chosen].mean():.2f}")
