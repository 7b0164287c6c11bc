"""Each check before training reports from its threshold on, and not before."""

import dataclasses
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_dnn import initializers
from keras_dnn.diagnostics import LayerSignal, registered_checks
from keras_dnn.diagnostics._nonfinite import Cause
from keras_dnn.diagnostics._yardstick.guess import Yardstick
from keras_dnn.diagnostics._yardstick.output_loss import OutputLoss

layers = keras.layers

NEVER_TRAINED = layers.Dense(2)
CHECKS = {check.name: check for check in registered_checks()}


def found(name, **measured):
    return CHECKS[name].findings(SimpleNamespace(**measured))


def layer(name="a", **changes):
    values = {
        "layer": NEVER_TRAINED,
        "path": f"model/{name}",
        "std": 1.0,
        "rms": 1.0,
        "gradient_norm": 1.0,
        "dead": 0.0,
        "saturated": float("nan"),
        "has_kernel": True,
        "is_output": False,
    }
    return LayerSignal(**{**values, **changes})


def signals(*layers, loss=1.0, entering=1.0):
    # Two rows at plus and minus a number have it as their standard deviation.
    rows = [np.array([[entering], [-entering]])] if entering else []
    return {
        "layers": layers,
        "weighted": [s for s in layers if s.has_kernel and not s.is_output],
        "loss": loss,
        "entering": rows,
        "nonfinite": None,
        "model": NEVER_TRAINED,
    }


def sizes(*numbers, **options):
    return [layer(str(i), std=n, **options) for i, n in enumerate(numbers)]


def gradients(*numbers):
    return [layer(str(i), gradient_norm=n) for i, n in enumerate(numbers)]


def crossentropy(classes, loss, **options):
    name = options.pop("name", "sparse_categorical_crossentropy")
    uniform = math.log(max(classes, 2))
    guess = options.pop("guess", uniform)
    return {
        "yardstick": Yardstick(guess, uniform, options.pop("least", 0.0)),
        "losses": [OutputLoss(name, False, "softmax", "model/out", classes)],
        "loss": loss,
        "loss_without_noise": options.pop("without_noise", loss),
    }


def rows(value):
    return value * np.resize([1.0, -1.0], (10, 1)) * np.ones(2)


def uneven(largest):
    """Standard deviations of 1 in six features, and another one in the last."""
    signs = np.resize([1.0, -1.0], 10)[:, None]
    return signs * np.array([1.0] * 6 + [largest])


def regression(*targets):
    return {
        "losses": [OutputLoss("mean_squared_error", False, "linear", None, 1)],
        "targets": [np.array(targets, float)],
    }


def reached(activation, *targets):
    """Targets of a regression, and outputs that the activation may give."""
    loss = OutputLoss("mean_squared_error", False, activation, None, 1)
    y = np.array(targets)
    outputs = np.linspace(0, 1, y.size).reshape(y.shape)
    return {"losses": [loss], "targets": [y], "outputs": [outputs]}


def ending(activation, *outputs, from_logits=False):
    name = "categorical_crossentropy"
    loss = OutputLoss(name, from_logits, activation, None, 2)
    return {"losses": [loss], "outputs": [np.array(outputs)]}


EDGES = {
    "inputs, large": (
        "inputs-not-standardised",
        {"entering": [rows(9.99)]},
        {"entering": [rows(10.01)]},
    ),
    "inputs, small": (
        "inputs-not-standardised",
        {"entering": [rows(0.01001)]},
        {"entering": [rows(0.00999)]},
    ),
    "inputs, all the same": (
        "inputs-not-standardised",
        {"entering": [np.ones((10, 2)), rows(1.0)]},
        {"entering": [np.ones((10, 2)), np.zeros((10, 1))]},
    ),
    "inputs, uneven": (
        "inputs-not-standardised",
        {"entering": [uneven(99.9) / 100]},
        {"entering": [uneven(100.1) / 100]},
    ),
    "targets, mean": (
        "targets-not-standardised",
        regression(9.0, 10.98),
        regression(9.0, 11.02),
    ),
    "targets, deviation": (
        "targets-not-standardised",
        regression(-9.99, 9.99),
        regression(-10.01, 10.01),
    ),
    "targets, small": (
        "targets-not-standardised",
        regression(-0.01001, 0.01001),
        regression(-0.00999, 0.00999),
    ),
    "output range": (
        "output-range",
        reached("tanh", -1.1110, 1.1110),
        reached("tanh", -1.1113, 1.1113),
    ),
    "output range, a sum": (
        "output-range",
        reached("softmax", [0.45, 0.451], [0.45, 0.649]),
        reached("softmax", [0.45, 0.449], [0.45, 0.651]),
    ),
    "loss and activation": (
        "loss-and-activation",
        ending("softmax", [0.5, 0.5], [0.25, 0.759]),
        ending("softmax", [0.5, 0.5], [0.25, 0.761]),
    ),
    "loss and activation, logits": (
        "loss-and-activation",
        ending("leaky_relu", [0.5, 0.5], [0.0, 1.0], from_logits=True),
        ending("relu", [0.5, 0.5], [0.0, 1.0], from_logits=True),
    ),
    "loss and activation, a layer of the user's own": (
        "loss-and-activation",
        ending(None, [0.0, 1.0], [1.009, 0.0]),
        ending(None, [0.0, 1.0], [1.011, 0.0]),
    ),
    "dead": (
        "dead-units",
        signals(layer(dead=0.499), layer(dead=1.0, is_output=True)),
        signals(layer(dead=0.501)),
    ),
    "saturated": (
        "saturated-units",
        signals(layer(saturated=0.299), layer(saturated=1.0, is_output=True)),
        signals(layer(saturated=0.301)),
    ),
    "exploding, forward": (
        "exploding",
        signals(*sizes(1.0, 999.0)),
        signals(*sizes(1.0, 1001.0)),
    ),
    "exploding, relative to the inputs": (
        "exploding",
        signals(*sizes(1.0, 1.0), entering=1.001e-3),
        signals(*sizes(1.0, 1.0), entering=0.999e-3),
    ),
    "exploding, after an embedding": (
        "exploding",
        signals(*sizes(1.0, 999.0), entering=None),
        signals(*sizes(1.0, 1001.0), entering=None),
    ),
    "exploding, back": (
        "exploding",
        signals(*gradients(999.0, 1.0)),
        signals(*gradients(1001.0, 1.0)),
    ),
    "exploding, infinite": (
        "exploding",
        signals(*sizes(1.0, 1.0)),
        {
            **signals(*sizes(1.0, math.inf)),
            "nonfinite": Cause("model/1", "outputs", overflow=True),
        },
    ),
    "vanishing, forward": (
        "vanishing",
        signals(*sizes(1.0, 1.001e-3)),
        signals(*sizes(1.0, 0.999e-3)),
    ),
    "vanishing, back": (
        "vanishing",
        signals(*gradients(1.001e-3, 1.0)),
        signals(*gradients(0.999e-3, 1.0)),
    ),
    "penalty": (
        "regularisation",
        {"penalty": 4.99, "loss": 1.0},
        {"penalty": 5.01, "loss": 1.0},
    ),
    "penalty, negative": (
        "regularisation",
        {"penalty": 0.0, "loss": 1.0},
        {"penalty": -1e-9, "loss": 1.0},
    ),
    "initial loss, few classes": (
        "initial-loss",
        crossentropy(3, math.log(3) + 1.99),
        crossentropy(3, math.log(3) + 2.01),
    ),
    "initial loss, many": (
        "initial-loss",
        crossentropy(1000, 1.999 * math.log(1000)),
        crossentropy(1000, 2.001 * math.log(1000)),
    ),
    "initial loss, with dropout": (
        "initial-loss",
        crossentropy(3, 9.0, without_noise=math.log(3) + 1.99),
        crossentropy(3, 9.0, without_noise=math.log(3) + 2.01),
    ),
    "initial loss, binary": (
        "initial-loss",
        crossentropy(1, math.log(2) + 1.999, name="binary_crossentropy"),
        crossentropy(1, math.log(2) + 2.001, name="binary_crossentropy"),
    ),
    "initial loss, low": (
        "initial-loss",
        crossentropy(3, 0.2501 * math.log(3)),
        crossentropy(3, 0.2499 * math.log(3)),
    ),
    "initial loss, low for rare classes": (
        "initial-loss",
        crossentropy(3, 0.02501, guess=0.1),
        crossentropy(3, 0.02499, guess=0.1),
    ),
    "initial loss, low for soft labels": (
        "initial-loss",
        crossentropy(3, 0.6251, guess=1.0, least=0.5),
        crossentropy(3, 0.6249, guess=1.0, least=0.5),
    ),
}


@pytest.mark.parametrize(("name", "healthy", "sick"), EDGES.values(), ids=EDGES)
def test_a_check_reports_from_its_threshold_on(name, healthy, sick):
    assert not found(name, **healthy)
    (finding,) = found(name, **sick)
    assert finding.name == name


@pytest.mark.parametrize(
    ("best", "severity"),
    [(0.1, None), (0.101, "note"), (0.5, "note"), (0.501, "warning"), (2.0, "warning")],
)
def test_how_much_is_memorised(monkeypatch, best, severity):
    from keras_dnn.diagnostics import _tiny_batch
    from keras_dnn.diagnostics._checks import learning

    outcome = _tiny_batch.Memorised(first=1.0, best=best, steps=9, examples=8)
    monkeypatch.setattr(learning, "memorise", lambda examination, enough: outcome)
    findings = found("tiny-batch")
    assert [f.severity for f in findings] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("best", "least", "guess", "severity"),
    [
        # What cannot be removed does not count.
        (0.639, 0.6, math.nan, None),
        (0.7, 0.6, math.nan, "note"),
        (0.801, 0.6, math.nan, "warning"),
        # A constant answer is nothing learnt, however high the loss began.
        (0.2, 0.0, 0.211, "note"),
        (0.2, 0.0, 0.21, "warning"),
    ],
)
def test_a_few_examples_are_memorised_down_to_the_least_loss(
    monkeypatch, best, least, guess, severity
):
    from keras_dnn.diagnostics import _tiny_batch
    from keras_dnn.diagnostics._checks import learning

    outcome = _tiny_batch.Memorised(1.0, best, 9, 8, least, guess)
    monkeypatch.setattr(learning, "memorise", lambda examination, enough: outcome)
    findings = found("tiny-batch")
    assert [f.severity for f in findings] == ([severity] if severity else [])


def test_the_layer_with_the_largest_change_is_reported():
    (finding,) = found("exploding", **signals(*sizes(1.0, 2.0, 2000.0, 4000.0)))
    assert finding.layer == "model/2"
    (finding,) = found("vanishing", **signals(*gradients(1e-6, 1e-5, 0.5, 1.0)))
    assert finding.layer == "model/1"
    assert finding.evidence == {"forward": 1.0, "backward": 1e-6}


@pytest.mark.parametrize(
    ("activation", "initializer", "ratio"),
    [
        ("relu", "glorot_uniform", 0.5),
        ("relu", initializers.GlorotNormal(), 0.5),
        ("gelu", "lecun_normal", 0.5),
        ("relu", "he_normal", None),
        ("leaky_relu", initializers.LeCunNormal(gain=layers.LeakyReLU()), None),
        ("elu", initializers.LeCunNormal(gain="elu"), None),
        ("tanh", "he_uniform", 2.0),
        ("tanh", "lecun_uniform", None),
        ("relu", keras.initializers.VarianceScaling(1.12), None),
        ("relu", keras.initializers.VarianceScaling(1.10), 0.55),
        ("relu", keras.initializers.VarianceScaling(3.58), None),
        ("relu", keras.initializers.VarianceScaling(3.62), 1.81),
        ("relu", "orthogonal", None),
        ("linear", "he_normal", None),
    ],
)
def test_an_initializer_suits_the_activation(activation, initializer, ratio):
    dense = layers.Dense(2, activation, kernel_initializer=initializer)
    seen = dataclasses.replace(layer(), layer=dense)
    findings = found("initializer", weighted=[seen] * 3)
    assert [f.evidence["ratio"] for f in findings] == pytest.approx(
        [ratio] if ratio else []
    )
    assert not found("initializer", weighted=[seen] * 2)


@pytest.mark.parametrize(
    ("units", "dead", "expected"), [(4, 0.75, 0), (4, 1.0, 1), (8, 0.75, 1)]
)
def test_half_of_a_few_units_may_be_dead_by_chance(units, dead, expected):
    hidden = layer(dead=dead, units=units)
    assert len(found("dead-units", **signals(hidden))) == expected
