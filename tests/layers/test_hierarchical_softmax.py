"""Softmax over clusters and the classes in them: numbers, gradients, `fit`, files."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_dnn
from keras_dnn import optimizers
from keras_dnn.diagnostics import check_gradients
from keras_dnn.layers import (
    HierarchicalCrossentropy,
    HierarchicalSoftmax,
    HierarchicalTopK,
)
from keras_dnn.layers._best_classes import best_classes
from keras_dnn.layers._blocks import SIZE

UNITS = 5


def randomised(layer, rng):
    """The layer with all weights drawn anew, biases too."""
    layer.build((None, UNITS))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def in_numpy(layer, cluster_of, x):
    """Probabilities, and for each class the row of the table that holds its weights."""
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
    """A layer in float64, the cluster of each class by the rules, inputs, classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(2, 40))
    kind = draw(st.sampled_from(["default", "number", "frequencies", "given"]))
    arguments, order = {}, np.arange(n)
    count = int(np.ceil(np.sqrt(n)))
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
    layer = randomised(HierarchicalSoftmax(n, dtype="float64", **arguments), rng)
    # Enough for several blocks of one cluster.
    batch = draw(st.sampled_from([1, 3, 4 * SIZE]))
    return layer, cluster_of, rng.normal(size=(batch, UNITS)), rng.integers(0, n, batch)


# Numbers


@settings(max_examples=30, deadline=None)
@given(case=cases())
def test_it_is_the_product_of_two_softmaxes(case):
    layer, cluster_of, x, y = case
    expected = in_numpy(layer, cluster_of, x)
    p = layer(x)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    np.testing.assert_allclose(np.sum(p, axis=1), 1, rtol=1e-13)
    own = np.log(expected[np.arange(len(y)), y])
    np.testing.assert_allclose(layer.log_probability(x, y), own, rtol=1e-11)
    loss = HierarchicalCrossentropy(dtype="float64")
    np.testing.assert_allclose(loss(y, p), -own.mean(), rtol=1e-11)
    top = HierarchicalTopK(layer, k=1 + int(y[0]))
    best, classes = top(x)
    np.testing.assert_allclose(best, -np.sort(-expected)[:, : top.k], rtol=1e-11)
    np.testing.assert_array_equal(classes, np.argsort(-expected)[:, : top.k])


@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_gradients_are_those_in_closed_form(case):
    layer, cluster_of, x, y = case
    loss = HierarchicalCrossentropy("sum", dtype="float64")
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(y, layer(inputs))
    *found, of_inputs = tape.gradient(value, [*layer.trainable_variables, inputs])
    cluster_kernel, cluster_bias, kernel, bias = (w.numpy() for w in layer.weights)
    expected = [np.zeros_like(w.numpy()) for w in layer.weights]
    to_inputs = np.zeros_like(x)
    for i, (h, target) in enumerate(zip(x, y, strict=True)):
        cluster = cluster_of[target]
        classes = np.flatnonzero(cluster_of == cluster)
        # The gradient of a logit is its probability, less one for the target's.
        above = softmax(h @ cluster_kernel + cluster_bias)
        above[cluster] -= 1
        below = softmax((kernel[cluster] @ h + bias[cluster])[: len(classes)])
        below[np.flatnonzero(classes == target)] -= 1
        expected[0] += np.outer(h, above)
        expected[1] += above
        expected[2][cluster, : len(classes)] += np.outer(below, h)
        expected[3][cluster, : len(classes)] += below
        to_inputs[i] = cluster_kernel @ above + below @ kernel[cluster, : len(classes)]
    for gradient, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient), right, rtol=1e-10, atol=1e-12
        )
    np.testing.assert_allclose(of_inputs, to_inputs, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(0)
    model = network(30)
    model.compile("sgd", HierarchicalCrossentropy())
    x, y = rng.normal(size=(6, UNITS)), rng.integers(0, 30, 6)
    assert check_gradients(model, x, y, verbose=0).passed


def test_a_gradient_names_the_clusters_of_the_batch_and_sums_each_once():
    rng = np.random.default_rng(0)
    layer = randomised(HierarchicalSoftmax(100), rng)
    y = np.array([3] * (2 * SIZE + 1) + [57])
    with tf.GradientTape() as tape:
        loss = HierarchicalCrossentropy()(y, layer(rng.normal(size=(len(y), UNITS))))
    for gradient in tape.gradient(loss, [layer.kernel, layer.bias]):
        assert isinstance(gradient, tf.IndexedSlices)
        assert set(gradient.indices.numpy()) == {0, 5}
        used = np.abs(gradient.values).sum(axis=tuple(range(1, gradient.values.ndim)))
        assert sorted(gradient.indices.numpy()[used > 0]) == [0, 5]


OPTIMIZERS = {
    "Keras's SGD": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Keras's Adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.5),
    "Keras's RMSprop": lambda: keras.optimizers.RMSprop(0.01),
    "SGD": lambda: optimizers.SGD(0.1, global_clipnorm=0.5),
    "Nesterov": lambda: optimizers.Nesterov(0.1),
    "Adam": lambda: optimizers.Adam(0.01),
    "AdaGrad": lambda: optimizers.AdaGrad(0.1),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_step_as_with_the_dense_gradient(make):
    """Repeated rows, which Keras's optimizers square before they sum, do no harm."""
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(30, UNITS)), rng.integers(0, 20, 30)) for _ in "abcd"]
    weights = []
    for dense in (False, True):
        layer = randomised(HierarchicalSoftmax(60, dtype="float64"), rng)
        layer.set_weights(
            [np.cos(np.arange(w.size).reshape(w.shape)) for w in layer.get_weights()]
        )
        optimizer = make()
        optimizer.build(layer.trainable_variables)
        for x, y in batches:
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(layer.log_probability(x, y))
            gradients = tape.gradient(loss, layer.trainable_variables)
            if dense:
                gradients = [tf.convert_to_tensor(g) for g in gradients]
            optimizer.apply(gradients, layer.trainable_variables)
        weights.append(layer.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


# `fit`, `evaluate`, `predict`


def network(n_classes=60, masked=False, **arguments):
    """Embeds nothing: a hidden layer and the softmax."""
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
    model = network(masked=masked, probabilities_in_training=probabilities)
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


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_and_evaluate_are_those_of_the_whole_distribution(jit_compile, masked):
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(3)]
    expected, _ = fitted("sparse_categorical_crossentropy", False, masked)
    found, _ = fitted(HierarchicalCrossentropy(), jit_compile, masked, metrics=metrics)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5)
    assert found["loss"][1] < 0.98 * found["loss"][0]
    assert found["val_accuracy"][1] > 0


def test_the_whole_distribution_is_computed_only_where_somebody_reads_it(monkeypatch):
    computed = []
    exp = keras.ops.exp

    def seen(x):
        def note(x):
            computed.append(len(x))
            return x

        y = tf.numpy_function(note, [exp(x)], x.dtype, stateful=False)
        return tf.ensure_shape(y, x.shape)

    monkeypatch.setattr(keras.ops, "exp", seen)
    _, model = fitted(HierarchicalCrossentropy())
    assert computed == []
    model.predict(np.ones((4, UNITS)), verbose=0)
    assert computed == [4]


def test_without_probabilities_in_training_all_else_is_the_same():
    expected, _ = fitted(HierarchicalCrossentropy(), metrics=["accuracy"])
    found, model = fitted(
        HierarchicalCrossentropy(), metrics=["accuracy"], probabilities=False
    )
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    x = np.ones((2, UNITS))
    np.testing.assert_allclose(np.sum(model(x), axis=1), 1, rtol=1e-6)
    assert np.isnan(model(x, training=True)).all()


def test_replicas_train_as_one_device(two_replicas):
    expected, one = fitted(HierarchicalCrossentropy())
    with two_replicas.scope():
        found, two = fitted(HierarchicalCrossentropy())
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32_probabilities_and_trains(policy):
    expected, exact = fitted(HierarchicalCrossentropy())
    keras.config.set_dtype_policy(policy)
    try:
        found, model = fitted(HierarchicalCrossentropy())
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=0.01)
    assert model.layers[-1].kernel.dtype == "float32"
    assert model.output.dtype == "float32"
    x = np.random.default_rng(0).normal(size=(50, UNITS))
    p = model.predict(x, verbose=0)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(p, exact.predict(x, verbose=0), rtol=0.1)


def test_the_loss_is_right_for_plain_probabilities_and_columns_of_targets():
    rng = np.random.default_rng(0)
    layer, loss = randomised(HierarchicalSoftmax(20), rng), HierarchicalCrossentropy()
    x, y = rng.normal(size=(6, UNITS)).astype("float32"), rng.integers(0, 20, 6)
    p = layer(x)
    expected = float(loss(y, p))
    assert float(loss(y, p.numpy())) == pytest.approx(expected, rel=1e-4)
    assert float(loss(y[:, None], p)) == expected
    assert float(loss(y.astype("float32"), p)) == expected
    each = HierarchicalCrossentropy(reduction=None)(y, p)
    np.testing.assert_allclose(np.mean(each), expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [-1, 20])
def test_a_class_that_does_not_exist_is_no_other(wrong):
    layer = randomised(HierarchicalSoftmax(20), np.random.default_rng(0))
    x, y = np.ones((2, UNITS), "float32"), np.array([3, wrong])
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{wrong} is not in"):
        layer.log_probability(x, y)
    compiled = tf.function(layer.log_probability, jit_compile=True)
    assert np.isnan(compiled(x, y)).tolist() == [False, True]


# The best k


def test_the_search_for_the_best_ends_early_where_the_model_is_sure():
    clusters = np.log([[0.02, 0.9, 0.05, 0.03], [0.3, 0.2, 0.26, 0.24]])
    within = np.log([[0.6, 0.4]] * 4)
    tried = []

    def classes_in(cluster, hidden):
        tried.append((int(hidden[0]), int(cluster)))
        return within[cluster], np.array([2, 3], "int32") * int(cluster)

    hidden = np.array([[0.0], [1.0]])
    best, classes = best_classes(tf.constant(clusters), hidden, classes_in, 2)
    np.testing.assert_allclose(np.exp(best), [[0.54, 0.36], [0.18, 0.156]])
    np.testing.assert_array_equal(classes, [[2, 3], [0, 4]])
    # The first example needs one cluster; the second all above 0.156.
    assert set(tried) == {(0, 1), (1, 0), (1, 2), (1, 3), (1, 1)}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_best_of_sequences_under_xla(policy):
    rng = np.random.default_rng(0)
    layer = randomised(HierarchicalSoftmax(50, dtype=policy), rng)
    top = HierarchicalTopK(layer, k=4)
    inputs = keras.Input((3, UNITS))
    x = rng.normal(size=(2, 3, UNITS))
    best = keras.Model(inputs, top(inputs))
    best.compile(jit_compile=True)
    probabilities, classes = best.predict(x, verbose=0)
    expected = keras.ops.convert_to_numpy(layer(x))
    assert [o.dtype for o in best.outputs] == ["float32", "int32"]
    assert top.compute_dtype == layer.compute_dtype
    rtol = 1e-5 if policy == "float32" else 0.05
    np.testing.assert_allclose(probabilities, -np.sort(-expected)[..., :4], rtol=rtol)
    found = np.take_along_axis(expected, classes, axis=-1)
    np.testing.assert_allclose(probabilities, found, rtol=rtol)


# Configuration, files, errors


@pytest.mark.parametrize(
    "arguments",
    [
        {"clusters": 3},
        {"clusters": np.arange(10) % 4},
        {"frequencies": np.arange(10.0)},
        {"probabilities_in_training": False},
        {},
    ],
)
def test_config_creates_it_anew(arguments):
    layer = HierarchicalSoftmax(10, name="words", **arguments)
    config = layer.get_config()
    again = HierarchicalSoftmax.from_config(config)
    assert again.get_config() == config
    np.testing.assert_array_equal(again.levels.cluster_of, layer.levels.cluster_of)
    assert (config["n_classes"], config["name"]) == (10, "words")
    assert again.probabilities_in_training == layer.probabilities_in_training
    loss = HierarchicalCrossentropy("sum", "mine").get_config()
    assert HierarchicalCrossentropy.from_config(loss).get_config() == loss


def test_initial_weights_are_glorots_for_each_softmax():
    layer = HierarchicalSoftmax(40_000)
    layer.build((None, 50))
    assert layer.kernel.shape == (200, 200, 50)
    for kernel in (layer.kernel, layer.cluster_kernel):
        bound = np.sqrt(6 / (50 + 200))
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        np.testing.assert_allclose(np.std(kernel), bound / np.sqrt(3), rtol=0.02)


LOAD = """
import sys
import keras
import numpy as np
import keras_dnn
model = keras.saving.load_model(sys.argv[1])
top = keras.saving.load_model(sys.argv[2])
data = np.load(sys.argv[3])
x, y = data["x"], data["y"]
assert type(model.loss) is keras_dnn.layers.HierarchicalCrossentropy
p = model.predict(x, verbose=0)
np.testing.assert_allclose(p, data["p"], rtol=1e-6)
np.testing.assert_allclose(top.predict(x, verbose=0)[0], data["best"], rtol=1e-6)
losses = [model.train_on_batch(x, y) for _ in range(2)]
np.testing.assert_allclose(losses, data["losses"], rtol=1e-6)
"""


def test_a_saved_model_loads_in_a_new_process_and_trains_on(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, UNITS)).astype("float32"), rng.integers(0, 30, 16)
    model = network(30, frequencies=rng.uniform(size=30))
    model.compile(optimizers.Adam(0.05), HierarchicalCrossentropy())
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    best = HierarchicalTopK(model.layers[-1], k=3)
    top = keras.Sequential([keras.Input((UNITS,)), *model.layers[1:-1], best])
    top.save(tmp_path / "top.keras")
    np.savez(
        tmp_path / "data.npz",
        x=x,
        y=y,
        p=model.predict(x, verbose=0),
        best=top.predict(x, verbose=0)[0],
        losses=[model.train_on_batch(x, y) for _ in range(2)],
    )
    files = [str(tmp_path / name) for name in ("model.keras", "top.keras", "data.npz")]
    subprocess.run(
        [sys.executable, "-c", LOAD, *files],
        cwd=Path(keras_dnn.__file__).parents[1],
        check=True,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_classes": 1}, "n_classes must be an integer of at least 2.*=1"),
        ({"clusters": 0}, "clusters must be a positive integer.*=0"),
        ({"clusters": 11}, "clusters must not be more than the 10 .*=11"),
        ({"clusters": 2.5}, "clusters must be a positive integer.*=2.5"),
        ({"clusters": [0, 1]}, r"clusters .* each of the 10 .*\(2,\)"),
        ({"clusters": [0.0] * 10}, "clusters .* float64"),
        ({"clusters": [0, 2] * 5}, "leave none empty.* 2 clusters from 0 to 2"),
        ({"clusters": [1, 2] * 5}, "from 0.* 2 clusters from 1 to 2"),
        ({"frequencies": [1.0] * 9}, r"frequencies .* each of the 10 .*\(9,\)"),
        ({"frequencies": [-1.0] * 10}, "frequencies must be finite and not neg"),
        ({"frequencies": [np.nan] * 10}, "frequencies must be finite"),
        ({"clusters": [0, 1] * 5, "frequencies": [1.0] * 10}, "can't be given with"),
        ({"probabilities_in_training": 0}, "probabilities_in_training must be True"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalSoftmax(**{"n_classes": 10, **arguments})


def test_what_does_not_fit_is_refused():
    layer = HierarchicalSoftmax(10)
    with pytest.raises(ValueError, match=r"k must not be more than the 10 .*k=11"):
        HierarchicalTopK(layer, k=11)
    with pytest.raises(ValueError, match="k must be a positive integer"):
        HierarchicalTopK(layer, k=0)
    with pytest.raises(ValueError, match=r"layer must be a HierarchicalSoftmax.*Dense"):
        HierarchicalTopK(keras.layers.Dense(3), k=2)
    p = layer(np.ones((4, UNITS)))
    with pytest.raises(ValueError, match=r"y_true must hold an integer.*\(4, 10\)"):
        HierarchicalCrossentropy()(np.eye(4, 10), p)
