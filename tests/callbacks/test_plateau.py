"""The counts of `PerformanceScheduler` against a second reading of its docstring."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_dnn.callbacks._plateau import Plateau

NAN, INF = float("nan"), float("inf")


def reductions(values, **options):
    """The evaluations, counted from 1, that complete a plateau; and the last state."""
    options = {"patience": 5, "maximise": options.pop("mode", "min") == "max"} | options
    plateau, reached = Plateau(), []
    for number, value in enumerate(values, 1):
        plateau = plateau.after(value, **options)
        if plateau.reached:
            reached.append(number)
    return reached, plateau


PATIENCE = {
    "as documented": ({"patience": 2}, [1.0, 0.9, 0.9, 0.9], [4]),
    "one evaluation": ({"patience": 1}, [1, 1, 1], [2, 3]),
    "the count begins again": ({"patience": 2}, [1, 1, 1, 1, 1, 1], [3, 5]),
    "five by default": ({}, [1, 2, 3, 4, 5, 6, 7], [6]),
    "an improvement resets": ({"patience": 3}, [1, 1, 1, 0.5, 1, 1, 1], [7]),
    "better than the last is not best": (
        {"patience": 3},
        [1, 4, 3, 2, 1.5, 1.2],
        [4],
    ),
    "always better": ({"patience": 1}, [5, 4, 3, 2, 1], []),
    "equal is not better": ({"patience": 1}, [1, 1, 0.5, 0.5], [2, 4]),
    "a hair is better": ({"patience": 1}, [1, 0.9999999, 0.9999998], []),
    "less than min_delta": (
        {"patience": 2, "min_delta": 0.1},
        [1, 0.95, 0.91, 0.89, 0.85, 0.78],
        [3],
    ),
    "exactly min_delta": ({"patience": 1, "min_delta": 0.25}, [1, 0.75, 0.5], [2]),
    "slow progress does not move the best": (
        {"patience": 4, "min_delta": 0.1},
        [1, 0.97, 0.94, 0.91, 0.88],
        [],
    ),
    "default min_delta": (
        {"patience": 1, "min_delta": 1e-4},
        [1, 0.99992, 0.9998, 0.99965],
        [2],
    ),
    "maximum": ({"patience": 2, "mode": "max"}, [0.5, 0.6, 0.6, 0.55, 0.7, 0.8], [4]),
    "maximum with min_delta": (
        {"patience": 1, "mode": "max", "min_delta": 0.1},
        [0.5, 0.55, 0.65, 0.7],
        [2, 4],
    ),
    "fraction of a large value": (
        {"patience": 2, "min_delta": 0.1, "relative": True},
        [10, 9.5, 9.05, 8.9, 8.8, 8.0],
        [3],
    ),
    "fraction of a small value": (
        {"patience": 1, "min_delta": 0.1, "relative": True},
        [0.01, 0.0095, 0.0085, 0.008],
        [2, 4],
    ),
    "fraction of a negative value": (
        {"patience": 1, "min_delta": 0.1, "relative": True},
        [-10, -9.5, -10.5, -11.5, -12.5],
        [2, 3, 5],
    ),
    "fraction of a negative maximum": (
        {"patience": 1, "min_delta": 0.1, "relative": True, "mode": "max"},
        [-10, -10.5, -9.5, -8.5, -8.0],
        [2, 3, 5],
    ),
    "fraction of a maximum": (
        {"patience": 1, "min_delta": 0.1, "relative": True, "mode": "max"},
        [0.5, 0.54, 0.56, 0.6, 0.62],
        [2, 4],
    ),
    "fraction of zero": (
        {"patience": 1, "min_delta": 0.1, "relative": True},
        [0.0, -0.001, -0.00105, 0.0],
        [3, 4],
    ),
    "through zero": ({"patience": 1}, [1, 0, -1, -1, -2], [4]),
    "cooldown": ({"patience": 1, "cooldown": 2}, [1] * 9, [2, 5, 8]),
    "cooldown and patience": ({"patience": 2, "cooldown": 1}, [1] * 10, [3, 6, 9]),
    "cooldown without a reduction": ({"patience": 3, "cooldown": 5}, [1, 1, 1, 0], []),
    "best within the cooldown": (
        {"patience": 1, "cooldown": 3},
        [1, 1, 0.5, 0.6, 0.6, 0.6, 0.6],
        [2, 6],
    ),
    "an improvement does not end the cooldown": (
        {"patience": 2, "cooldown": 3},
        [1, 1, 1, 0.5, 0.6, 0.6, 0.6, 0.6],
        [3, 8],
    ),
    "NaN is no improvement": ({"patience": 2}, [1, NAN, NAN, 1], [3]),
    "NaN first": ({"patience": 2}, [NAN, 1, 1, 1, 1], [4]),
    "nothing but NaN": ({"patience": 2}, [NAN] * 5, [2, 4]),
    "NaN does not hide the best": ({"patience": 2}, [1, NAN, 0.5, NAN, 0.7], [5]),
    "NaN in max mode": ({"patience": 1, "mode": "max"}, [1, NAN, 2, NAN], [2, 4]),
    "after infinity": ({"patience": 2}, [INF, 5, 4, 4, 4], [5]),
    "after infinity, relative": (
        {"patience": 2, "min_delta": 0.1, "relative": True},
        [INF, 5, 4, 3, 2],
        [],
    ),
    "a loss of minus infinity has failed": ({"patience": 2}, [1, -INF, 1], [3]),
    "infinity later": ({"patience": 2}, [1, INF, INF, 0.5], [3]),
}


@pytest.mark.parametrize("case", PATIENCE)
def test_a_plateau_is_reached_after_these_evaluations(case):
    options, values, expected = PATIENCE[case]
    assert reductions(values, **options)[0] == expected


def counted(values, patience, cooldown, better):
    """The definition in the docstring, read once more."""
    best, row, quiet, reached = NAN, 0, 0, []
    for number, value in enumerate(values, 1):
        first = math.isnan(best)
        improved = math.isfinite(value) and (first or better(value, best))
        best = value if improved else best
        row = 0 if improved or quiet else row + 1
        quiet = max(quiet - 1, 0)
        if row == patience:
            reached.append(number)
            row, quiet = 0, cooldown
    return reached, best, row


@settings(max_examples=500, deadline=None)
@given(
    # Quarters, so that differences from the margin have no rounding; ties are common.
    values=st.lists(
        st.integers(-8, 8).map(lambda i: i / 4) | st.sampled_from([NAN, INF, -INF]),
        max_size=20,
    ),
    patience=st.integers(1, 4),
    cooldown=st.integers(0, 4),
    min_delta=st.sampled_from([0.0, 0.25, 0.3, 0.5]),
    relative=st.booleans(),
    mode=st.sampled_from(["min", "max"]),
)
def test_random_sequences(values, patience, cooldown, min_delta, relative, mode):
    def better(value, best):
        gain = best - value if mode == "min" else value - best
        size = abs(best) if relative else 1
        return gain > min_delta * size

    reached, plateau = reductions(
        values,
        patience=patience,
        cooldown=cooldown,
        min_delta=min_delta,
        relative=relative,
        mode=mode,
    )
    expected, best, row = counted(values, patience, cooldown, better)
    assert reached == expected
    assert plateau.best == best or (math.isnan(best) and math.isnan(plateau.best))
    assert plateau.wait == row


def test_a_state_stays_as_it_is():
    start = Plateau(best=1.0)
    assert start.after(2.0, patience=2).wait == 1
    assert start == Plateau(best=1.0)
