"""
Gradient norms: where a deep network stops learning
===================================================

In a stack of ten sigmoid layers the lowest ones hardly learn: the gradient shrinks at
each layer on its way back. The heat map of
:class:`~keras_dnn.callbacks.GradientNorms` shows it at a glance, and shows what ReLU
with He initialisation changes.
"""

# %%
# Two networks
# ------------
# They differ only in activation and initialisation.

import keras
import numpy as np
from fashion_mnist import load
from keras import layers

from keras_dnn.callbacks import GradientNorms
from keras_dnn.optimizers import Nesterov

(x, y), _ = load()
x, y = x[:3200], y[:3200]


def train(activation: str, initializer: str) -> GradientNorms:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten()])
    for i in range(1, 11):
        model.add(
            layers.Dense(
                32,
                activation=activation,
                kernel_initializer=initializer,
                use_bias=False,
                name=f"dense_{i:02}",
            )
        )
    model.add(layers.Dense(10, activation="softmax", name="classes"))
    model.compile(
        optimizer=Nesterov(learning_rate=0.005, momentum=0.9),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    gradients = GradientNorms()
    history = model.fit(
        x, y, batch_size=64, epochs=2, callbacks=[gradients], verbose=0
    ).history
    print(f"{activation}: accuracy {history['accuracy'][-1]:.0%} in the second epoch")
    return gradients


# %%
# Sigmoid
# -------
# A sigmoid's slope is 0.25 at most, so each layer passes on a fraction of the gradient.
# The rows at the top are the layers next to the input. They are dark throughout.

sigmoid = train("sigmoid", "glorot_uniform")
sigmoid.plot()

# %%
# ReLU
# ----
# With ReLU and He initialisation (He et al., 2015) the lowest layer gets as much as the
# others. The scale beside the map spans fewer powers of ten.

relu = train("relu", "he_normal")
relu.plot()

# %%
# In numbers
# ----------
# How much smaller the gradient of the lowest layer is than that of the tenth, and what
# fraction of its weights a step changes. As a rule of thumb, around 0.001 is healthy.

for name, gradients in {"sigmoid": sigmoid, "relu": relu}.items():
    lowest, tenth = np.median(gradients.norms[:, [0, 9]], axis=0)
    ratio = np.median(gradients.ratios[:, 0])
    print(f"{name:8} norms 1 : {tenth / lowest:<9.3g} update ratio below {ratio:.1e}")
