"""What single checks measure, against the same numbers computed in another way."""

import keras
import numpy as np
import pytest

from keras_dnn.diagnostics import Examination, preflight
from tests.diagnostics import networks


def found(model, data, name, **options):
    return preflight(model, *data, verbose=0, **options).named(name)


def test_a_bias_before_a_batch_norm_is_useless():
    (finding,) = found(
        networks.regularised_with_norm(), networks.digits(), "useless-bias"
    )
    assert finding.severity == "note"
    assert finding.evidence == {"weights": 16}
    assert "/dense" in finding.layer


@pytest.mark.parametrize("activation", ["relu", None])
def test_a_bias_is_useful_before_an_activation(activation):
    dense = keras.layers.Dense(8, activation)
    model = keras.Sequential(
        [keras.Input((20,)), dense, keras.layers.BatchNormalization()]
    )
    model.add(keras.layers.Dense(4, "softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy")
    useless = found(model, networks.digits(), "useless-bias")
    assert bool(useless) == (activation is None)
    model.layers[1].trainable = False
    assert not found(model, networks.digits(), "useless-bias")


def test_targets_far_from_zero():
    x, _ = networks.digits()
    y = 500 + x[:, :1]
    (finding,) = found(networks.regression(), (x, y), "targets-not-standardised")
    np.testing.assert_allclose(finding.evidence["mean"], y.mean(), rtol=1e-6)
    np.testing.assert_allclose(finding.evidence["std"], y.std(), rtol=1e-6)


def test_examples_that_cannot_be_memorised():
    x, y = networks.digits()
    model = networks.network(depth=1)
    # The same example with different labels.
    x = np.repeat(x[:1], len(x), axis=0)
    (finding,) = found(model, (x, y), "tiny-batch")
    counts = np.bincount(y[:8], minlength=4)
    # For equal inputs nothing is better than the frequency of each label.
    assert finding.evidence["first"] > finding.evidence["best"] > 0.1
    assert counts.max() < 8


def test_dropout_is_off_while_a_few_examples_are_memorised():
    model = networks.network(depth=2)
    hidden = [keras.Input((20,)), *model.layers[:-1]]
    model = keras.Sequential([*hidden, keras.layers.Dropout(0.98), model.layers[-1]])
    model.compile("adam", "sparse_categorical_crossentropy")
    assert not found(model, networks.digits(), "tiny-batch")
    assert model.layers[-2].rate == 0.98


def test_constraints_are_off_while_a_few_examples_are_memorised():
    constraint = keras.constraints.MaxNorm(1e-3)
    model = networks.network(depth=2, kernel_constraint=constraint)
    assert not found(model, networks.digits(), "tiny-batch")
    assert model.layers[0].kernel.constraint is constraint


def test_the_first_loss_is_judged_without_dropout():
    x, y = networks.digits()

    def dropped(last):
        body = networks.network(depth=2, last=networks.normal(last)).layers
        dropout = keras.layers.Dropout(0.9)
        model = keras.Sequential([keras.Input((20,)), *body[:-1], dropout, body[-1]])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    examination = Examination(dropped(0.4), x, y, None, (x, y))
    assert examination.loss_without_noise < 3.0 < 3.5 < examination.loss
    assert not found(dropped(0.4), (x, y), "initial-loss")
    (finding,) = found(dropped(8.0), (x, y), "initial-loss", samples=len(x))
    model = dropped(8.0)
    np.testing.assert_allclose(
        finding.evidence["loss"], model.evaluate(x, y, verbose=0), rtol=1e-4
    )


def test_the_first_loss_is_that_of_compute_loss():
    data = networks.digits()
    model = networks.network(depth=2, last=networks.normal(8.0))
    (finding,) = found(model, data, "initial-loss", samples=len(data[0]))
    np.testing.assert_allclose(
        finding.evidence["loss"], model.evaluate(*data, verbose=0), rtol=1e-4
    )
    np.testing.assert_allclose(finding.evidence["uniform"], np.log(4), rtol=1e-6)
    shares = np.bincount(data[1]) / len(data[1])
    entropy = -np.sum(shares * np.log(shares))
    np.testing.assert_allclose(finding.evidence["guess"], entropy, rtol=1e-6)


def test_penalty_and_loss_are_separate():
    data = networks.digits()
    model = networks.network(depth=2, kernel_regularizer=keras.regularizers.L2(1.0))
    (finding,) = found(model, data, "regularisation", samples=len(data[0]))
    kernels = [layer.kernel.numpy() for layer in model.layers[:-1]]
    penalty = sum(np.sum(np.square(kernel, dtype="float64")) for kernel in kernels)
    total = model.evaluate(*data, verbose=0)
    np.testing.assert_allclose(finding.evidence["penalty"], penalty, rtol=1e-5)
    np.testing.assert_allclose(finding.evidence["loss"], total - penalty, rtol=1e-3)


def test_the_signal_is_that_of_numpy():
    x, y = networks.digits()
    model = networks.network(
        depth=6, activation="tanh", initializer=networks.normal(0.03)
    )
    (finding,) = found(model, (x, y), "vanishing", samples=len(x))
    h = x.astype("float64")
    weights = [
        (la.kernel.numpy().astype("float64"), la.bias.numpy()) for la in model.layers
    ]
    hidden = []
    for kernel, bias in weights[:-1]:
        h = np.tanh(h @ kernel + bias)
        hidden.append(h)
    logits = h @ weights[-1][0] + weights[-1][1]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    g = (p - np.eye(4)[y]) / len(x)
    g = g @ weights[-1][0].T
    gradients = [g]
    for i in range(5, 0, -1):
        g = (g * (1 - hidden[i] ** 2)) @ weights[i][0].T
        gradients.insert(0, g)
    np.testing.assert_allclose(
        finding.evidence["forward"],
        np.sqrt(hidden[-1].var(axis=0).mean() / x.var(axis=0).mean()),
        rtol=1e-3,
    )
    np.testing.assert_allclose(
        finding.evidence["backward"],
        np.linalg.norm(gradients[0]) / np.linalg.norm(gradients[-1]),
        rtol=1e-3,
    )


def test_dead_units_are_counted():
    x, y = networks.digits()
    model = networks.network(depth=2)
    bias = np.zeros(32)
    bias[:20] = -50.0
    model.layers[0].bias.assign(bias)
    (finding,) = found(model, (x, y), "dead-units")
    assert finding.evidence["fraction"] == 20 / 32
    assert finding.layer == model.layers[0].path
    assert not found(model, (x, y), "dead-units", thresholds={"dead-units": 0.63})
