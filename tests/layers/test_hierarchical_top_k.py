"""The best classes, found cluster by cluster."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dnn.layers import HierarchicalSoftmax, HierarchicalTopK
from keras_dnn.layers._best_classes import best_classes
from tests.layers.hierarchical_cases import (
    UNITS,
    randomised,
)


def test_the_search_for_the_best_ends_early_where_the_model_is_sure():
    clusters = np.log([[0.02, 0.9, 0.05, 0.03], [0.3, 0.2, 0.26, 0.24]])
    within = np.log([[0.6, 0.4]] * 4)
    tried = []

    def classes_in(cluster, hidden):
        # Not `int`, which TensorFlow turns into a cast inside its loop.
        example, cluster = np.array(hidden).item(), np.array(cluster).item()
        tried.append((example, cluster))
        return within[cluster], np.array([2, 3], "int32") * cluster

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
