"""Softmax over clusters and the classes in them: numbers, `fit`, files, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from keras_dnn import optimizers
from keras_dnn.layers import (
    HierarchicalCrossentropy,
    HierarchicalSoftmax,
    HierarchicalTopK,
)
from tests.layers.hierarchical_cases import (
    UNITS,
    cases,
    fitted,
    in_numpy,
    made,
    network,
)


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_it_is_the_product_of_two_softmaxes(case):
    layer, cluster_of, x, y = made(case)
    expected = in_numpy(layer, cluster_of, x)
    p = layer(x)
    np.testing.assert_allclose(p, expected, rtol=1e-12)
    np.testing.assert_allclose(np.sum(p, axis=1), 1, rtol=1e-13)
    own = np.log(expected[np.arange(len(y)), y])
    # A probability next to 1 is rounded, and its logarithm is known no better.
    rounding = {"rtol": 1e-11, "atol": np.finfo("float64").eps}
    np.testing.assert_allclose(layer.log_probability(x, y), own, **rounding)
    loss = HierarchicalCrossentropy(dtype="float64")
    np.testing.assert_allclose(loss(y, p), -own.mean(), **rounding)
    top = HierarchicalTopK(layer, k=1 + int(y[0]))
    best, classes = top(x)
    np.testing.assert_allclose(best, -np.sort(-expected)[:, : top.k], rtol=1e-11)
    np.testing.assert_array_equal(classes, np.argsort(-expected)[:, : top.k])


def test_the_whole_distribution_is_computed_only_where_it_is_read(monkeypatch):
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


def test_without_probabilities_in_training_everything_else_is_the_same():
    expected, _ = fitted(HierarchicalCrossentropy(), metrics=["accuracy"])
    found, model = fitted(
        HierarchicalCrossentropy(), metrics=["accuracy"], probabilities=False
    )
    for name in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    x = np.ones((2, UNITS))
    np.testing.assert_allclose(np.sum(model(x), axis=1), 1, rtol=1e-6)
    assert np.isnan(model(x, training=True)).all()


def test_mixed_precision_gives_float32_probabilities_and_trains():
    expected, exact = fitted(HierarchicalCrossentropy())
    keras.config.set_dtype_policy("mixed_float16")
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
def test_config_creates_it_again(arguments):
    layer = HierarchicalSoftmax(10, name="words", **arguments)
    config = layer.get_config()
    again = HierarchicalSoftmax.from_config(config)
    assert again.get_config() == config
    np.testing.assert_array_equal(again.levels.cluster_of, layer.levels.cluster_of)
    assert (config["n_classes"], config["name"]) == (10, "words")
    assert again.probabilities_in_training == layer.probabilities_in_training
    loss = HierarchicalCrossentropy("sum", "mine").get_config()
    assert HierarchicalCrossentropy.from_config(loss).get_config() == loss


@pytest.mark.parametrize(
    ("n_classes", "expected"), [(2, 2), (16, 16), (17, 17), (100, 40), (100_000, 1265)]
)
def test_four_times_the_root_of_the_classes_are_clusters_by_default(
    n_classes, expected
):
    sizes = HierarchicalSoftmax(n_classes).levels.sizes
    assert len(sizes) == expected
    assert sizes.sum() == n_classes
    assert sizes.max() - sizes.min() <= 1


def test_initial_weights_are_glorots_for_each_softmax():
    layer = HierarchicalSoftmax(40_000, clusters=200)
    layer.build((None, 50))
    assert layer.kernel.shape == (200, 200, 50)
    for kernel in (layer.kernel, layer.cluster_kernel):
        bound = np.sqrt(6 / (50 + 200))
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        np.testing.assert_allclose(np.std(kernel), bound / np.sqrt(3), rtol=0.02)


def test_a_saved_model_loads_and_trains_on(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, UNITS)).astype("float32"), rng.integers(0, 30, 16)
    model = network(30, frequencies=rng.uniform(size=30))
    model.compile(optimizers.Adam(0.05), HierarchicalCrossentropy())
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    best = HierarchicalTopK(model.layers[-1], k=3)
    top = keras.Sequential([keras.Input((UNITS,)), *model.layers[1:-1], best])
    top.save(tmp_path / "top.keras")
    p, (probabilities, classes) = (m.predict(x, verbose=0) for m in (model, top))
    losses = [model.train_on_batch(x, y) for _ in range(2)]

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert type(loaded.loss) is HierarchicalCrossentropy
    np.testing.assert_allclose(loaded.predict(x, verbose=0), p, rtol=1e-6)
    found = [loaded.train_on_batch(x, y) for _ in range(2)]
    np.testing.assert_allclose(found, losses, rtol=1e-6)
    loaded_top = keras.saving.load_model(tmp_path / "top.keras")
    found, found_classes = loaded_top.predict(x, verbose=0)
    np.testing.assert_allclose(found, probabilities, rtol=1e-6)
    np.testing.assert_array_equal(found_classes, classes)


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


def test_arguments_that_do_not_fit_the_layer_are_refused():
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
