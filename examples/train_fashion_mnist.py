"""
Train a network, record its gradients, measure its uncertainty, and deploy it
=============================================================================

A small convolutional network learns to classify ten kinds of clothes, twice and with
the same budget: once with Keras's own SGD at a constant rate, once with the 1-cycle
policy, in which learning rate and momentum change in opposite directions. Then dropout
stays on to show how sure the network is of each prediction, and its batch norms are
folded.

Run it with ``make demo``. It prints a table and saves its plots in ``runs/demo``.
"""

import time
from pathlib import Path

import fashion_mnist
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import layers

from keras_dnn.callbacks import GradientNorms
from keras_dnn.models import fold_batch_norm, mc_predict
from keras_dnn.optimizers import Nesterov
from keras_dnn.optimizers.schedules import OneCycle

EPOCHS = 10
BATCH_SIZE = 64
# A page of the gallery has no `__file__`.
PLOTS = Path(fashion_mnist.__file__).resolve().parent.parent / "runs" / "demo"

# %%
# Data and network
# ----------------
# 6,000 images to train on and 2,000 to test on, standardised. The network has a batch
# norm after each convolution and dropout before each dense layer. With so few steps in
# an epoch, the batch norms need a lower momentum than Keras's default of 0.99.

(x_train, y_train), (x_test, y_test) = fashion_mnist.load()
mean, std = x_train.mean(), x_train.std()
x_train, x_test = (x_train - mean) / std, (x_test - mean) / std


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for i, (filters, strides) in enumerate(((16, 1), (32, 2), (32, 1), (64, 2)), 1):
        model.add(
            layers.Conv2D(
                filters,
                kernel_size=3,
                strides=strides,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"conv_{i}",
            )
        )
        model.add(layers.BatchNormalization(momentum=0.9, name=f"norm_{i}"))
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.3))
    model.add(
        layers.Dense(
            64, activation="relu", kernel_initializer="he_normal", name="hidden"
        )
    )
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(10, activation="softmax", name="classes"))
    return model


def train(optimizer: keras.optimizers.Optimizer) -> tuple[keras.Model, GradientNorms]:
    model = network()
    model.compile(
        optimizer=optimizer,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    gradients = GradientNorms()
    model.fit(
        x_train,
        y_train,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        callbacks=[gradients],
        verbose=2,
    )
    return model, gradients


# %%
# A constant rate
# ---------------
# The baseline: Keras's SGD with Nesterov momentum. Of the constant rates 0.003, 0.01,
# 0.03 and 0.1, this one was best.

print("Keras's SGD, constant rate")
start = time.perf_counter()
baseline, baseline_gradients = train(
    keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
)
baseline_seconds = time.perf_counter() - start

# %%
# One cycle
# ---------
# The rate rises to ten times the baseline's and falls again; the momentum changes in
# the opposite direction. Both are schedules that the optimizer reads inside the
# training step.

total_steps = EPOCHS * -(-len(x_train) // BATCH_SIZE)
rate = OneCycle(max_learning_rate=0.1, total_steps=total_steps)

print("\nkeras_dnn's Nesterov, 1-cycle")
start = time.perf_counter()
model, gradients = train(Nesterov(learning_rate=rate, momentum=rate.momentum()))
seconds = time.perf_counter() - start

cycle_plot, (above, below) = plt.subplots(2, 1, sharex=True, layout="constrained")
rate.plot(ax=above)
rate.momentum().plot(ax=below)

# %%
# The gradients
# -------------
# The norm of each variable's gradient at every step, recorded inside the compiled step.

gradient_plot = gradients.plot()

# %%
# What the network does not know
# ------------------------------
# A hundred predictions with dropout on. Where they disagree, the network is guessing.

prediction = mc_predict(model, x_test, samples=100, batch_size=256, seed=1, verbose=0)
right = prediction.mean.argmax(axis=1) == y_test
print(f"\nMonte Carlo: {prediction}")

uncertainty_plot = prediction.plot(y_test)

# %%
# Ready to deploy
# ---------------
# At inference each batch norm is a multiplication and an addition, which can be merged
# into the convolution before it.

folded = fold_batch_norm(model, data=x_test[:100])
print(f"\n{folded}")


def latencies(models: list[keras.Model], rounds: int = 200) -> list[float]:
    """Median milliseconds for one image; the models take turns."""
    image = tf.constant(x_test[:1])
    calls = [tf.function(lambda x, m=m: m(x, training=False)) for m in models]
    seconds = np.empty((rounds + 20, len(calls)))
    for row in seconds:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call(image).numpy()
            row[i] = time.perf_counter() - start
    return list(1e3 * np.median(seconds[20:], axis=0))


original_ms, folded_ms = latencies([model, folded.model])

# %%
# Results
# -------

_, baseline_accuracy = baseline.evaluate(x_test, y_test, verbose=0)
_, accuracy = model.evaluate(x_test, y_test, verbose=0)


def summary(gradients: GradientNorms) -> str:
    norms = gradients.global_norms
    return f"{np.median(norms):.2f} / {norms.max():.1f}"


rows = [
    ("", "constant rate", "1-cycle"),
    ("optimizer", "keras SGD", "keras_dnn Nesterov"),
    ("test accuracy", f"{baseline_accuracy:.2%}", f"{accuracy:.2%}"),
    ("training time", f"{baseline_seconds:.1f} s", f"{seconds:.1f} s"),
    ("gradient norm, median / max", summary(baseline_gradients), summary(gradients)),
    ("", "", ""),
    ("", "dropout off", "Monte Carlo, 100 samples"),
    ("test accuracy", f"{accuracy:.2%}", f"{right.mean():.2%}"),
    ("", "correct", "wrong"),
    (
        "entropy (nats)",
        f"{prediction.entropy[right].mean():.3f}",
        f"{prediction.entropy[~right].mean():.3f}",
    ),
    (
        "mutual information (nats)",
        f"{prediction.mutual_information[right].mean():.4f}",
        f"{prediction.mutual_information[~right].mean():.4f}",
    ),
    ("", "", ""),
    ("", "trained model", "batch norms folded"),
    ("latency of one image", f"{original_ms:.2f} ms", f"{folded_ms:.2f} ms"),
    ("largest difference / std", "", f"{folded.max_error:.1e}"),
]
print()
for name, one, other in rows:
    print(f"{name:29}{one:>16}{other:>26}".rstrip())

print()
if accuracy > baseline_accuracy:
    print(f"1-cycle wins by {accuracy - baseline_accuracy:.2%} of the test images.")
else:
    print(
        "1-cycle did NOT win this time: it is worse by "
        f"{baseline_accuracy - accuracy:.2%} of the test images."
    )

PLOTS.mkdir(parents=True, exist_ok=True)
for name, figure in {
    "one_cycle": cycle_plot,
    "gradient_norms": gradient_plot,
    "uncertainty": uncertainty_plot,
}.items():
    figure.savefig(PLOTS / f"{name}.png", dpi=120)
print(f"Plots: {PLOTS}")
