"""How many weights are zero."""

import json

import keras
import numpy as np
import pytest

from keras_dnn.models import sparsity

layers = keras.layers


def network():
    inner = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, name="dense")], name="inner"
    )
    x = keras.Input((5, 3))
    y = layers.GRU(3, name="gru", trainable=False)(x)
    y = layers.BatchNormalization()(y)
    shared = layers.Dense(3, name="shared")
    return keras.Model(x, inner(shared(shared(y))))


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.4, 10.0])
def test_counts_weights_with_more_than_one_axis(threshold):
    model = network()
    generator = np.random.default_rng(0)
    weights = {
        "gru": model.get_layer("gru").cell,
        "shared": model.get_layer("shared"),
        "inner/dense": model.get_layer("inner").layers[0],
    }
    expected, size = {}, {}
    for name, layer in weights.items():
        found = []
        for attribute in ("kernel", "recurrent_kernel"):
            variable = getattr(layer, attribute, None)
            if variable is not None:
                w = generator.normal(size=variable.shape)
                w[generator.uniform(size=w.shape) < 0.3] = 0
                variable.assign(w)
                found.append(variable.numpy().ravel())
        w = np.concatenate(found)
        size[name] = w.size
        expected[name] = sum(abs(float(v)) <= threshold for v in w) / w.size
    result = sparsity(model, threshold)
    # Biases are all zero here, that of the GRU has two axes; none of them counts.
    assert result.weights == size == {"gru": 54, "shared": 9, "inner/dense": 12}
    assert result.by_layer == pytest.approx(expected, rel=1e-12)
    zeros = sum(expected[name] * size[name] for name in size)
    assert result.overall == pytest.approx(zeros / 75, rel=1e-12)
    assert result.threshold == threshold


def test_prints_draws_and_lists():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="dense")])
    model.layers[0].kernel.assign([[0.5, 0.0], [-0.01, 2.0]])
    result = sparsity(model, 0.02)
    assert str(result) == (
        " 50.0% of 4 weights are at most 0.02 in size\n   50.0% of 4 in dense"
    )
    assert json.loads(json.dumps(result.to_dict())) == {
        "overall": 0.5,
        "by_layer": {"dense": 0.5},
        "weights": {"dense": 4},
        "threshold": 0.02,
    }
    pytest.importorskip("matplotlib")
    ax = result.plot()
    assert [bar.get_width() for bar in ax.patches] == [50, 50]
    assert [text.get_text() for text in ax.texts] == ["2 not zero"]


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), "0", True])
def test_refuses_a_threshold(threshold):
    with pytest.raises(ValueError, match=r"threshold must be .*Received: threshold="):
        sparsity(network(), threshold)


def test_refuses_a_model_that_is_not_built():
    with pytest.raises(ValueError, match=r"model must be built .*Received: model="):
        sparsity(keras.Sequential([layers.Dense(3)]))
