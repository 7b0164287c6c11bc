"""The loss that computes few classes: its gradient, and training with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from keras_dnn import optimizers
from keras_dnn.diagnostics import check_gradients
from keras_dnn.layers import HierarchicalCrossentropy, HierarchicalSoftmax
from keras_dnn.layers._blocks import SIZE
from tests.layers.hierarchical_cases import (
    UNITS,
    cases,
    fitted,
    made,
    network,
    randomised,
    softmax,
)


@settings(max_examples=10, deadline=None)
@given(case=cases())
def test_gradients_are_those_in_closed_form(case):
    layer, cluster_of, x, y = made(case)
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


def test_a_gradient_has_the_clusters_of_the_batch_and_sums_each_once():
    rng = np.random.default_rng(0)
    layer = randomised(HierarchicalSoftmax(100, clusters=10), rng)
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


@pytest.mark.parametrize(
    ("jit_compile", "masked"), [(False, False), (False, True), (True, True)]
)
def test_fit_and_evaluate_are_those_of_the_whole_distribution(jit_compile, masked):
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(3)]
    expected, _ = fitted("sparse_categorical_crossentropy", False, masked)
    found, _ = fitted(HierarchicalCrossentropy(), jit_compile, masked, metrics=metrics)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5)
    assert found["loss"][1] < 0.98 * found["loss"][0]
    assert found["val_accuracy"][1] > 0


def test_replicas_train_as_one_device(two_replicas):
    expected, one = fitted(HierarchicalCrossentropy())
    with two_replicas.scope():
        found, two = fitted(HierarchicalCrossentropy())
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


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
def test_a_class_that_does_not_exist_is_not_taken_for_another(wrong):
    layer = randomised(HierarchicalSoftmax(20), np.random.default_rng(0))
    x, y = np.ones((2, UNITS), "float32"), np.array([3, wrong])
    named = rf"from 0 to 19.*ignore_class.*{wrong}\]"
    with pytest.raises(ValueError, match=named):
        layer.log_probability(x, y)
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
        tf.function(layer.log_probability)(x, y)
    compiled = tf.function(layer.log_probability, jit_compile=True)
    assert np.isnan(compiled(x, y)).tolist() == [False, True]


def test_labels_that_stand_for_padding_are_ignored_as_in_keras():
    x = keras.Input((6, UNITS))
    model = keras.Model(x, HierarchicalSoftmax(50)(x))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 6, UNITS)).astype("float32")
    labels = np.array([[1, 2, 3, -1, -1, -1], [4, 5, 49, 7, -1, -1]])
    weights = rng.uniform(size=labels.shape)
    expected, found = (
        [
            float(loss(labels, model(inputs), sample_weight=w))
            for w in (None, weights)
            for loss in (
                cls(ignore_class=-1),
                cls(ignore_class=-1, reduction="mean_with_sample_weight"),
                cls(ignore_class=-1, reduction="sum"),
            )
        ]
        for cls in (
            keras.losses.SparseCategoricalCrossentropy,
            HierarchicalCrossentropy,
        )
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    model.compile("sgd", HierarchicalCrossentropy(ignore_class=-1))
    assert model.evaluate(inputs, labels, verbose=0) == pytest.approx(found[0])
    config = keras.losses.serialize(model.loss)
    assert keras.losses.deserialize(config).ignore_class == -1


def test_an_ignored_class_is_an_integer():
    with pytest.raises(ValueError, match=r"ignore_class must be an integer.*'pad'"):
        HierarchicalCrossentropy(ignore_class="pad")
