"""Layers of random clusters, a second implementation in NumPy, a network to train."""

import keras
import numpy as np
from hypothesis import strategies as st

from keras_dnn.layers import HierarchicalSoftmax
from keras_dnn.layers._blocks import SIZE

UNITS = 5


def randomised(layer, rng):
    """The layer with random weights, biases too."""
    layer.build((None, UNITS))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def in_numpy(layer, cluster_of, x):
    """Probabilities of all classes, one cluster after the other."""
    cluster_kernel, cluster_bias, kernel, bias = (w.numpy() for w in layer.weights)
    clusters = softmax(x @ cluster_kernel + cluster_bias)
    p = np.empty((len(x), len(cluster_of)))
    for cluster in range(max(cluster_of) + 1):
        classes = np.flatnonzero(cluster_of == cluster)
        n = len(classes)
        within = softmax(x @ kernel[cluster, :n].T + bias[cluster, :n])
        p[:, classes] = clusters[:, [cluster]] * within
    return p


@st.composite
def cases(draw):
    """Arguments, the expected cluster of each class, inputs, targets and a seed."""
    seed = draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    n = draw(st.integers(2, 60))
    kind = draw(st.sampled_from(["default", "number", "frequencies", "given"]))
    arguments, order = {}, np.arange(n)
    count = min(n, int(np.ceil(4 * np.sqrt(n))))
    if kind == "given":
        count = draw(st.integers(1, min(n, 6)))
        cluster_of = rng.permutation(np.r_[:count, rng.integers(0, count, n - count)])
        arguments["clusters"] = draw(st.sampled_from([list, np.asarray]))(cluster_of)
    if kind == "number":
        count = arguments["clusters"] = draw(st.integers(1, n))
    if kind == "frequencies":
        arguments["frequencies"] = rng.integers(0, 5, n)
        order = sorted(order, key=lambda i: -arguments["frequencies"][i])
    if kind != "given":
        cluster_of = np.empty(n, int)
        for cluster, classes in enumerate(np.array_split(order, count)):
            cluster_of[classes] = cluster
    # Enough for several blocks of one cluster.
    batch = draw(st.sampled_from([1, 3, 4 * SIZE]))
    x, y = rng.normal(size=(batch, UNITS)), rng.integers(0, n, batch)
    return arguments, cluster_of, x, y, seed


def made(case):
    """The layer of a case, in float64, and the rest of it."""
    arguments, cluster_of, x, y, seed = case
    layer = HierarchicalSoftmax(len(cluster_of), dtype="float64", **arguments)
    return randomised(layer, np.random.default_rng(seed)), cluster_of, x, y


def network(n_classes=60, masked=False, **arguments):
    """A hidden layer and the softmax, on vectors or on masked sequences."""
    x = inputs = keras.Input((None, UNITS) if masked else (UNITS,))
    if masked:
        x = keras.layers.Masking()(x)
    x = keras.layers.Dense(UNITS, "tanh")(x)
    return keras.Model(inputs, HierarchicalSoftmax(n_classes, **arguments)(x))


def fitted(loss, jit_compile=False, masked=False, probabilities=True, **arguments):
    """The history of a network that is the same each time, and the network."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(1)
    shape = (40, 3) if masked else (40,)
    x, y = rng.normal(size=(*shape, UNITS)), rng.integers(0, 9, shape)
    weight = rng.uniform(size=shape)
    if masked:
        x[::4, 1:] = 0
    model = network(masked=masked, clusters=8, probabilities_in_training=probabilities)
    model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit_compile, **arguments)
    history = model.fit(
        x,
        y,
        batch_size=20,
        epochs=2,
        sample_weight=weight,
        validation_data=(x, y),
        shuffle=False,
        verbose=0,
    )
    return history.history, model
