"""Each check during training reports from its threshold on, and not before."""

import numpy as np
import pytest

from keras_dnn.diagnostics import NonfiniteStep
from tests.diagnostics.histories import CHECKS, KERNELS, found


def flat(steps=40):
    """The losses of a training that learns nothing."""
    return np.full(steps, 2.0)


def last_half(value, kernel, rest=1e-3):
    ratios = np.full((8, 3), rest)
    ratios[4:, kernel] = value
    return ratios


def held_back(gap=0.0, **changes):
    """Dropout costs 0.3, and most of the 2 of a guess is left."""
    values = {
        "evaluation_losses": [1.5, 1.4, 1.3, 1.25],
        "regularisation_gaps": [0.3] * 4,
        **changes,
    }
    arrays = {k: np.array(v) if np.ndim(v) else v for k, v in values.items()}
    return {**arrays, "validation_losses": arrays["evaluation_losses"] + gap}


def validated(*losses):
    """A hundred steps, and these validation losses."""
    return {
        "losses": np.linspace(2.0, 0.5, 100),
        "validation_losses": np.array(losses),
    }


def trained(last):
    """The training losses end here, where they have been before."""
    losses = np.full(4, last)
    return {"epoch_losses": losses, "evaluation_losses": losses}


# By name: the check, what is just healthy, and what just is not.
EDGES = {
    "rate-too-high, median": (
        "rate-too-high",
        {"global_ratios": np.full(8, 0.0999)},
        {"global_ratios": np.full(8, 0.1001)},
    ),
    "rate-too-high, one step": (
        "rate-too-high",
        {"global_ratios": np.array([0.999, *[1e-3] * 7])},
        {"global_ratios": np.array([1.001, *[1e-3] * 7])},
    ),
    "rate-too-high, late steps do not count": (
        "rate-too-high",
        {"global_ratios": np.array([*[1e-3] * 5, 2.0, 2.0, 2.0])},
        {"global_ratios": np.array([1e-3, 1e-3, 2.0, *[1e-3] * 5])},
    ),
    "rate-too-high, risen": (
        "rate-too-high",
        {"losses": np.array([1.0] * 54 + [1.499] * 6)},
        {"losses": np.array([1.0] * 54 + [1.501] * 6)},
    ),
    "rate-too-high, risen for a moment": (
        "rate-too-high",
        {"losses": np.array([1.0] * 54 + [9.0, 1.0, 9.0, 1.0, 1.0, 1.0])},
        {"losses": np.array([1.0] * 54 + [9.0, 1.0, 9.0, 1.0, 9.0, 9.0])},
    ),
    "rate-too-high, too short": (
        "rate-too-high",
        {"losses": np.array([1.0] * 45 + [9.0] * 4)},
        {"losses": np.array([1.0] * 46 + [9.0] * 4)},
    ),
    "exploding": (
        "exploding",
        {"global_norms": np.full(8, 999.0), "steps": np.arange(0, 160, 20)},
        {"global_norms": np.full(8, 1001.0), "steps": np.arange(0, 160, 20)},
    ),
    "exploding, outliers": (
        "exploding",
        {
            "global_norms": np.array([1.0] * 5 + [1e9, 1.0, 1.0]),
            "steps": np.arange(0, 160, 20),
        },
        {
            "global_norms": np.array([1e9, 1.0, 1e9, 1.0, 1e9, 1e9, 1.0, 1e9]),
            "steps": np.arange(0, 160, 20),
        },
    ),
    "exploding, at the start": (
        "exploding",
        {
            "global_norms": np.array([1e9] * 4 + [500.0, 500.0, 1200.0, 1200.0]),
            "steps": np.arange(0, 160, 20),
        },
        {
            "global_norms": np.array([1.0] * 4 + [500.0, 900.0, 1200.0, 1200.0]),
            "steps": np.arange(0, 160, 20),
        },
    ),
    "exploding, too short": (
        "exploding",
        {"global_norms": np.full(8, 1e9), "steps": np.arange(42, 50)},
        {"global_norms": np.full(8, 1e9), "steps": np.arange(43, 51)},
    ),
    "exploding, first loss too": (
        "exploding",
        {"global_norms": np.full(8, 1e9), "losses": flat(), "uniform_loss": 0.2001},
        {"global_norms": np.full(8, 1e9), "losses": flat(), "uniform_loss": 0.1999},
    ),
    "exploding, first loss too, in the first records": (
        "exploding",
        {
            "global_norms": np.array([1e9, 999.0, 999.0, *[1e9] * 5]),
            "losses": flat(),
            "uniform_loss": 0.1,
        },
        {
            "global_norms": np.array([1001.0, 999.0, 1001.0, *[0.0] * 5]),
            "losses": flat(),
            "uniform_loss": 0.1,
        },
    ),
    "dead-units": (
        "dead-units",
        {"dead": np.array([[0.9, 0.9, 0], [0.499, 0, 0.9]])},
        {"dead": np.array([[0, 0, 0], [0.501, 0, 0]])},
    ),
    "saturated-units": (
        "saturated-units",
        {"saturated": np.array([[np.nan, 0.299, 0.9]])},
        {"saturated": np.array([[np.nan, 0.301, 0.0]])},
    ),
    "vanishing": (
        "vanishing",
        {"norms": np.tile([1.001e-3, 1e-9, 1.0], (8, 1))},
        {"norms": np.tile([0.999e-3, 1.0, 0.5], (8, 1))},
    ),
    "vanishing, an unknown kernel": (
        "vanishing",
        {"norms": np.tile([1e-9, np.nan, 1.0], (8, 1))},
        {
            "norms": np.tile([1e-9, np.nan, 1.0, 1.0], (8, 1)),
            "kernels": [*KERNELS, "model/d/kernel"],
        },
    ),
    "rate-too-low": (
        "rate-too-low",
        {"global_ratios": np.full(8, 1.001e-4), "losses": flat()},
        {"global_ratios": np.full(8, 0.999e-4), "losses": flat()},
    ),
    "rate-too-low, at the end": (
        "rate-too-low",
        {"global_ratios": np.full(8, 1e-6), "losses": np.linspace(2, 0.5, 40)},
        {"global_ratios": np.full(8, 1e-6), "losses": np.linspace(2, 1.5, 40)},
    ),
    "plateau": (
        "plateau",
        {"losses": flat(100), "epoch_losses": np.array([2.0, 2.0, 2.0, 1.979])},
        {"losses": flat(100), "epoch_losses": np.array([2.0, 2.0, 2.0, 1.981])},
    ),
    "plateau, too short": (
        "plateau",
        {"losses": flat(99), "epoch_losses": np.full(4, 2.0)},
        {"losses": flat(100), "epoch_losses": np.full(4, 2.0)},
    ),
    "underfitting, fraction of the loss": (
        "underfitting",
        # 4.05 without it in three epochs: 0.45 more makes it a tenth of all.
        held_back(
            regularisation_gaps=[9.0, 0.2, 0.2, 0.0499],
            evaluation_losses=[1.5, 1.4, 1.4, 1.25],
        ),
        held_back(
            regularisation_gaps=[0.0, 0.2, 0.2, 0.0501],
            evaluation_losses=[1.5, 1.4, 1.4, 1.25],
        ),
    ),
    "underfitting, needs dropout": (
        "underfitting",
        held_back(dropout_rate=0.0),
        held_back(dropout_rate=0.01),
    ),
    "underfitting, too short": (
        "underfitting",
        held_back(evaluation_losses=[1.3, 1.25], regularisation_gaps=[0.3, 0.3]),
        held_back(
            evaluation_losses=[1.4, 1.3, 1.25], regularisation_gaps=[0.3, 0.3, 0.3]
        ),
    ),
    "underfitting, gap to validation": (
        "underfitting",
        held_back(gap=[0.0, 0.0, 0.4501, 0.0]),
        held_back(gap=[9.0, 0.0, 0.4499, 0.0]),
    ),
    "underfitting, still learning": (
        "underfitting",
        held_back(evaluation_losses=[1.667, 1.4, 1.3, 1.25]),
        held_back(evaluation_losses=[1.666, 1.4, 1.3, 1.25]),
    ),
    "underfitting, has learnt": (
        "underfitting",
        held_back(guess_loss=2.501),
        held_back(guess_loss=2.499),
    ),
    "underfitting, has learnt by another loss": (
        "underfitting",
        held_back(
            evaluation_losses=[2.501, 1.5, 1.4, 1.3, 1.25],
            regularisation_gaps=[0.3] * 5,
            guess_loss=np.nan,
        ),
        held_back(
            evaluation_losses=[2.499, 1.5, 1.4, 1.3, 1.25],
            regularisation_gaps=[0.3] * 5,
            guess_loss=np.nan,
        ),
    ),
    "underfitting, nothing gets through": (
        "underfitting",
        held_back(
            losses=flat(),
            regularisation_gaps=[0.0] * 4,
            uniform_loss=1.001,
            dropout_rate=0.5,
        ),
        held_back(
            losses=flat(),
            regularisation_gaps=[0.0] * 4,
            uniform_loss=0.999,
            dropout_rate=0.5,
        ),
    ),
    "underfitting, nothing gets through, dropout rate": (
        "underfitting",
        held_back(regularisation_gaps=[0.0] * 4, uniform_loss=0.9, dropout_rate=0.499),
        held_back(regularisation_gaps=[0.0] * 4, uniform_loss=0.9, dropout_rate=0.5),
    ),
    "underfitting, nothing gets through, gap": (
        "underfitting",
        # A tenth of 3.95 in three epochs.
        held_back(
            regularisation_gaps=[0.0] * 4,
            uniform_loss=0.9,
            dropout_rate=0.5,
            gap=[0, 0.395, 0, 0.001],
        ),
        held_back(
            regularisation_gaps=[0.0] * 4,
            uniform_loss=0.9,
            dropout_rate=0.5,
            gap=[9, 0.395, 0, -0.001],
        ),
    ),
    "no better than a guess, validation": (
        "no-better-than-a-guess",
        {**validated(1.5, 1.5, 1.5, 1.979), "validation_guess_loss": 1.5152},
        {**validated(1.5, 1.5, 1.5, 1.979), "validation_guess_loss": 1.5151},
    ),
    "no better than a guess, still falling": (
        "no-better-than-a-guess",
        validated(2.2, 2.1, 2.1, 2.079),
        validated(2.2, 2.1, 2.1, 2.081),
    ),
    "no better than a guess, falling too slowly": (
        "no-better-than-a-guess",
        validated(2.3, 2.2, 2.2, 2.159),
        validated(2.3, 2.2, 2.2, 2.161),
    ),
    "no better than a guess, penalties": (
        "no-better-than-a-guess",
        {**validated(2.1, 2.1, 2.1, 2.1), "penalties": np.full(4, 0.121)},
        {**validated(2.1, 2.1, 2.1, 2.1), "penalties": np.full(4, 0.119)},
    ),
    "no better than a guess, no more": (
        "no-better-than-a-guess",
        {**validated(1.9, 1.85, 2.0, 2.0), **trained(1.499)},
        {**validated(1.9, 1.85, 2.0, 2.0), **trained(1.501)},
    ),
    "no better than a guess, training alone": (
        "no-better-than-a-guess",
        {**validated(*[np.nan] * 4), **trained(1.979)},
        {**validated(*[np.nan] * 4), **trained(1.981)},
    ),
    "no better than a guess, weights": (
        "no-better-than-a-guess",
        {
            **validated(*[np.nan] * 4),
            **trained(2.0),
            "evaluation_losses": np.full(4, np.nan),
            "is_weighted": True,
        },
        {
            **validated(*[np.nan] * 4),
            **trained(2.0),
            "evaluation_losses": np.full(4, np.nan),
        },
    ),
    "no better than a guess, too short": (
        "no-better-than-a-guess",
        {**validated(2.0, 2.0, 2.0, 2.0), "losses": np.linspace(2, 0.5, 99)},
        validated(2.0, 2.0, 2.0, 2.0),
    ),
    "overfitting": (
        "overfitting",
        {"validation_losses": np.array([1.5, 1.0, 1.2, 1.099])},
        {"validation_losses": np.array([1.5, 1.0, 1.2, 1.101])},
    ),
    "overfitting, for one epoch": (
        "overfitting",
        {"validation_losses": np.array([1.5, 1.0, 1.099, 1.5])},
        {"validation_losses": np.array([1.5, 1.0, 1.101, 1.5])},
    ),
    "overfitting, relative to training": (
        "overfitting",
        {
            "validation_losses": np.array([1.5, 1.0, 1.2, 1.2]),
            "evaluation_losses": np.array([1.6, 1.2, 1.1, 1.001]),
        },
        {
            "validation_losses": np.array([1.5, 1.0, 1.2, 1.2]),
            "evaluation_losses": np.array([1.6, 1.2, 1.1, 0.999]),
        },
    ),
    "overfitting, near zero": (
        "overfitting",
        # The loss began at 2 - 0.0385 / 2: the first two of forty steps.
        {
            "losses": flat(),
            "validation_losses": np.array([1.0, 0.1, 0.3, 0.199]),
            "evaluation_losses": np.zeros(4),
        },
        {
            "losses": flat(),
            "validation_losses": np.array([1.0, 0.1, 0.3, 0.201]),
            "evaluation_losses": np.zeros(4),
        },
    ),
    "update-ratio, large": (
        "update-ratio",
        {"ratios": last_half(0.999e-2, 1)},
        {"ratios": last_half(1.001e-2, 1)},
    ),
    "update-ratio, small": (
        "update-ratio",
        {"ratios": last_half(1.001e-4, 2), "losses": flat()},
        {"ratios": last_half(0.999e-4, 2), "losses": flat()},
    ),
    "update-ratio, small at the end": (
        "update-ratio",
        {"ratios": last_half(1e-6, 2)},
        {"ratios": last_half(1e-6, 2), "losses": flat()},
    ),
    "nonfinite": (
        "nonfinite",
        {},
        {"nonfinite": NonfiniteStep(3, np.nan, "model/a", "outputs")},
    ),
}


@pytest.mark.parametrize(("name", "healthy", "sick"), EDGES.values(), ids=EDGES)
def test_a_check_reports_from_its_threshold_on(name, healthy, sick):
    assert not found(name, **healthy)
    (finding,) = found(name, **sick)
    assert finding.name == name


def test_each_check_has_an_edge():
    assert {name for name, *_ in EDGES.values()} == set(CHECKS)
    assert not [f for name in CHECKS for f in found(name)]


def test_the_layer_is_reported():
    norms = np.tile([1e-6, 1e-5, 1.0], (8, 1))
    assert found("vanishing", norms=norms)[0].layer == "model/b"
    norms = np.tile([1.0, 5.0, 2.0], (8, 1))
    # Only the half of the records that is judged counts.
    norms[:4, 0] = 9.0
    exploded = found(
        "exploding",
        norms=norms,
        global_norms=np.full(8, 1e4),
        steps=np.arange(0, 160, 20),
    )
    assert exploded[0].layer == "model/b"
    dead = np.array([[0, 0.25, 0], [0.6, 0.75, 0]])
    (finding,) = found("dead-units", dead=dead)
    assert finding.layer == "model/b"
    assert finding.evidence == {"fraction": 0.75, "at_first": 0.25}


@pytest.mark.parametrize(
    ("name", "sick"),
    [
        ("vanishing", {"norms": np.tile([1e-6, 1e-5, 1.0], (8, 1))}),
        ("dead-units", {"dead": np.array([[0, 0, 0], [0.6, 0, 0]])}),
        ("saturated-units", {"saturated": np.array([[0.6, 0, 0]])}),
    ],
)
def test_layers_that_do_no_harm_are_a_note(name, sick):
    assert [f.severity for f in found(name, **sick)] == ["note"]
    stuck = found(name, losses=np.linspace(2.0, 1.34, 40), **sick)
    assert [f.severity for f in stuck] == ["warning"]


@pytest.mark.parametrize(("value", "expected"), [(0.0299, 1), (0.0301, 0)])
def test_small_gradients_of_attention_scores_do_not_vanish(value, expected):
    kernels = [f"model/attention/{part}/kernel" for part in ("query", "key", "value")]
    kernels += [f"model/{name}/kernel" for name in "abc"]
    norms = np.tile([1e-4, 2e-4, value, 0.5, 0.5, 1.0], (8, 1))
    assert len(found("vanishing", norms=norms, kernels=kernels)) == expected


@pytest.mark.parametrize(("ratio", "expected"), [(0.9e-5, 1), (1.1e-5, 0)])
def test_a_kernel_that_alone_hardly_moves_is_a_note(ratio, expected):
    findings = found("update-ratio", ratios=np.tile([ratio, 1e-3, 1e-3], (8, 1)))
    assert [f.layer for f in findings] == ["model/a"] * expected
    # A rate that comes down slows all of them.
    assert not found("update-ratio", ratios=np.full((8, 3), ratio))
