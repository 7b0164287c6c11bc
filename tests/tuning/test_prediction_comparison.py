"""McNemar's test and its interval against hand-worked tables and a numeric search."""

import json
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import optimize, stats

from keras_dnn.tuning import compare_predictions

generator = np.random.default_rng(5)


def predictions(only_a, only_b, both=20, neither=5):
    right = [(1, 1)] * both + [(1, 0)] * only_a + [(0, 1)] * only_b
    right = np.array(right + [(0, 0)] * neither)
    return np.zeros(len(right), int), 1 - right[:, 0], 1 - right[:, 1]


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    # Worked by hand: 2 * sum(C(m, i)) / 2**m over the smaller tail.
    [(6, 0, 2 / 2**6), (7, 1, 18 / 2**8), (9, 2, 2 * (1 + 11 + 55) / 2**11)],
)
def test_exact_mcnemar_of_hand_worked_tables(only_a, only_b, p):
    result = compare_predictions(*predictions(only_a, only_b))
    assert result.p_value == pytest.approx(p, rel=1e-12)
    np.testing.assert_array_equal(result.table, [[20, only_a], [only_b, 5]])
    n = 25 + only_a + only_b
    assert result.difference == pytest.approx((only_a - only_b) / n, rel=1e-14)
    effect_size = (only_a - only_b) / (only_a + only_b)
    assert result.effect_size == pytest.approx(effect_size, rel=1e-14)
    assert result.informative == only_a + only_b


def test_equal_counts_are_no_evidence():
    assert compare_predictions(*predictions(4, 4)).p_value == 1.0


def tango(only_a, only_b, n, alpha):
    """Tango's interval with the nuisance parameter found by a numeric search."""
    z = stats.norm.ppf(1 - alpha / 2)

    def score(delta):
        def minus_log_likelihood(q):
            rest = 1 - 2 * q - delta
            return -(
                only_a * np.log(q + delta)
                + only_b * np.log(q)
                + (n - only_a - only_b) * np.log(rest)
            )

        low, high = max(0.0, -delta), (1 - delta) / 2
        q = optimize.minimize_scalar(
            minus_log_likelihood,
            bounds=(low + 1e-12, high - 1e-12),
            method="bounded",
            options={"xatol": 1e-12},
        ).x
        return (only_a - only_b - n * delta) / np.sqrt(
            n * (2 * q + delta * (1 - delta))
        )

    middle = (only_a - only_b) / n
    return tuple(
        optimize.brentq(lambda d, s=s: score(d) - s, *bracket)
        for s, bracket in ((z, (-0.99, middle)), (-z, (middle, 0.99)))
    )


@pytest.mark.parametrize(
    ("only_a", "only_b", "both"), [(12, 2, 36), (30, 21, 400), (5, 40, 100)]
)
def test_interval_is_tangos_widened_to_that_of_the_exact_test(only_a, only_b, both):
    y, a, b = predictions(only_a, only_b, both)
    result = compare_predictions(y, a, b, confidence=0.9)
    low, high = tango(only_a, only_b, len(y), 0.1)
    exact = stats.binomtest(only_a, only_a + only_b).proportion_ci(0.9, "exact")
    scale = (only_a + only_b) / len(y)
    expected = (
        min(low, (2 * exact.low - 1) * scale),
        max(high, (2 * exact.high - 1) * scale),
    )
    assert result.interval == pytest.approx(expected, abs=1e-6)
    assert low == pytest.approx(expected[0], abs=0.03)


def test_interval_and_test_never_contradict_each_other():
    for m in range(1, 40):
        for only_a in range(m + 1):
            y, a, b = predictions(only_a, m - only_a, both=60)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # About too few.
                result = compare_predictions(y, a, b)
            low, high = result.interval
            assert low <= result.difference <= high
            assert (low > 0 or high < 0) == (result.p_value <= 0.05)


def test_probabilities_and_classes_give_the_same_result():
    y = generator.integers(0, 3, 60)
    a, b = (generator.dirichlet(np.ones(3), 60) for _ in range(2))
    expected = compare_predictions(y, a.argmax(1), b.argmax(1))
    one_hot = compare_predictions(np.eye(3)[y], a, b)
    assert one_hot.p_value == expected.p_value
    np.testing.assert_array_equal(one_hot.table, expected.table)


def test_probabilities_of_two_classes_have_a_threshold_of_one_half():
    y = generator.integers(0, 2, (40, 1))
    a, b = generator.uniform(size=(2, 40, 1))
    expected = compare_predictions(y, a > 0.5, b > 0.5)
    np.testing.assert_array_equal(compare_predictions(y, a, b).table, expected.table)


def test_networks_that_always_agree_show_nothing_and_cause_a_warning():
    y = np.arange(10)
    with pytest.warns(UserWarning, match="0 inputs"):
        result = compare_predictions(y, y, y)
    assert (result.p_value, result.difference) == (1.0, 0.0)
    # Where none differ, Tango's equation is n d = z sqrt(n d (1 - d)).
    z2 = stats.norm.ppf(0.975) ** 2
    assert result.interval == pytest.approx((-z2 / (10 + z2), z2 / (10 + z2)), 1e-9)


# Arguments, text, dict, plot


@pytest.mark.parametrize(
    ("y", "a", "word"),
    [
        ([0, 1], [0], "same length"),
        ([], [], "at least 1"),
        ([0, 1], [[[0]], [[1]]], "shape"),
        ([0, 1], [0.5, 1.5], "probabilities"),
        ([0, 1], [0.5, np.nan], "probabilities"),
        ([0, 1], [[0.5, 0.5], [np.nan, 0.5]], "NaN"),
        ([-1, 1], [0.2, 0.8], "y must hold integers from 0 to 1"),
        (
            [1, 3],
            [[0.2, 0.3, 0.5], [0.5, 0.5, 0.0]],
            "y must hold integers from 0 to 2",
        ),
        ([0.2, 1], [0, 1], "y must be classes"),
    ],
)
def test_bad_predictions_are_refused(y, a, word):
    with pytest.raises(ValueError, match=word):
        compare_predictions(y, a, y)


def test_text_dict_and_plot_contain_the_numbers():
    result = compare_predictions(*predictions(12, 3))
    assert f"{result.difference:+.4g}" in str(result)
    assert f"p = {result.p_value:.3g}" in str(result)
    found = json.loads(json.dumps(result.to_dict()))
    assert found["interval"] == list(result.interval)
    assert found["table"] == result.table.tolist()
    ax = result.plot()
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == result.table.ravel().tolist()
    plt.close(ax.figure)


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ImportError, match=r"SciPy.*keras_dnn\[tuning\]"):
        compare_predictions([0, 1], [0, 1], [0, 1])
