"""Linear regression, and its sweep in NumPy."""

import keras
import numpy as np

rng = np.random.default_rng(0)
# Eighths are exact in float32, in which Keras feeds its data.
X = np.round(8 * rng.normal(size=(48, 4))) / 8
Y = X @ [[1.0], [-2.0], [0.5], [3.0]] + np.round(8 * rng.normal(size=(48, 1))) / 8
WEIGHTS = np.round(8 * rng.uniform(0.5, 2, size=48)) / 8
LOSS = keras.losses.MeanSquaredError(dtype="float64")
BATCH = 8


# Keras sums up losses in float32.


def linear_model(optimizer, **compile_arguments):
    """Linear regression from zero."""
    inputs = keras.Input((4,), dtype="float64")
    dense = keras.layers.Dense(
        1, use_bias=False, kernel_initializer="zeros", dtype="float64"
    )
    model = keras.Model(inputs, dense(inputs))
    model.compile(optimizer, LOSS, **compile_arguments)
    return model


def replayed(rates, every=1, batch=BATCH, weights=None):
    """The losses of gradient descent in NumPy with these rates, one an update."""
    kernel = np.zeros((4, 1))
    weights = np.ones(len(X)) if weights is None else weights
    starts = range(0, len(X), batch)
    losses, step = [], 0
    for rate in np.float32(rates).astype("float64"):
        gradients, values = [], []
        for _ in range(every):
            rows = slice(starts[step % len(starts)], starts[step % len(starts)] + batch)
            x, w = X[rows], weights[rows, None]
            residual = x @ kernel - Y[rows]
            values.append(np.mean(w * residual**2))
            gradients.append(2 / len(x) * x.T @ (w * residual))
            step += 1
        losses.append(np.mean(values))
        kernel = kernel - rate * np.mean(gradients, axis=0)
    return np.array(losses)
