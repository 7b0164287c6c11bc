"""Wilcoxon's test and its interval against brute force and hand-worked examples."""

import contextlib
import itertools
import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from keras_dnn.tuning import compare


def pairs(n, shift=0.0, seed=0):
    noise = np.random.default_rng(seed)
    a = noise.normal(size=n)
    return a, a - shift - 0.3 * noise.normal(size=n)


def brute_force_p(differences):
    """The fraction of all signs whose rank sum is as far from its middle."""
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(list(itertools.product([0, 1], repeat=len(ranks))))
    sums, middle = signs @ ranks, ranks.sum() / 2
    observed = (differences > 0) @ ranks
    return np.mean(np.abs(sums - middle) >= abs(observed - middle) - 1e-9)


@pytest.mark.parametrize("n", [1, 4, 6, 9, 12])
def test_p_value_counts_all_signs(n):
    a, b = pairs(n, 0.1, seed=n)
    few = pytest.warns(UserWarning, match="few") if n < 6 else contextlib.nullcontext()
    with few:
        result = compare(a, b)
    assert result.p_value == pytest.approx(brute_force_p(a - b), rel=1e-12)


def test_p_value_with_ties_counts_all_signs():
    differences = np.array([1, 1, -1, 2, 2, 3, 3, 3.0])
    result = compare(differences, 0 * differences)
    assert result.p_value == pytest.approx(brute_force_p(differences), rel=1e-12)


def rank_sum_quantile(n, alpha):
    """How many rank sums make up `alpha / 2`, from the generating function."""
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.polymul(counts, [1.0] + [0.0] * (rank - 1) + [1.0])
    below = np.cumsum(counts) / 2.0**n
    return int(np.sum(below <= alpha / 2))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [8, 15, 30])
def test_interval_contains_the_shifts_that_the_test_does_not_reject(n, confidence):
    a, b = pairs(n, 0.2, seed=n)
    d = a - b
    means = sorted(
        (x + y) / 2 for x, y in itertools.combinations_with_replacement(d, 2)
    )
    result = compare(a, b, confidence=confidence)
    cut = rank_sum_quantile(n, 1 - confidence)
    low, high = result.interval
    assert result.difference == pytest.approx(np.median(means), abs=1e-14)
    assert (low, high) == pytest.approx((means[cut - 1], means[-cut]), abs=1e-14)
    # The test does not reject a shift inside, and rejects one outside.
    for shift, inward in ((low, 1e-9), (high, -1e-9)):
        assert stats.wilcoxon(d - shift - inward).pvalue > 1 - confidence
        assert stats.wilcoxon(d - shift + inward).pvalue <= 1 - confidence


def test_interval_covers_the_truth_as_often_as_promised():
    d = np.random.default_rng(1).normal(loc=0.3, size=(800, 9))
    covered = [
        low <= 0.3 <= high
        for low, high in (compare(x, 0 * x, confidence=0.9).interval for x in d)
    ]
    assert 0.9 - 0.03 < np.mean(covered) < 0.95


def test_effect_size_of_a_hand_worked_example():
    # Ranks 1, 2, 3, 4, 5.5, 5.5 with signs - + + + + +: (20 - 1) / 21.
    d = np.array([-1, 2, 3, 4, 5, 5.0])
    result = compare(d, 0 * d)
    assert result.effect_size == pytest.approx(19 / 21, rel=1e-14)
    assert compare(0 * d, d).effect_size == pytest.approx(-19 / 21, rel=1e-14)


def test_swapped_scores_give_the_opposite_result():
    a, b = pairs(10, 0.2)
    result, swapped = compare(a, b), compare(b, a)
    assert swapped.difference == pytest.approx(-result.difference, abs=1e-14)
    assert swapped.interval == pytest.approx((-result.interval[1], -result.interval[0]))
    assert swapped.p_value == result.p_value


def test_equal_scores_show_nothing():
    with pytest.warns(UserWarning, match="Too few"):
        result = compare([0.5] * 8, [0.5] * 8)
    assert (result.p_value, result.effect_size, result.difference) == (1.0, 0.0, 0.0)
    assert "No difference" in str(result)


def test_the_warning_about_too_few_pairs_names_the_number_needed():
    with pytest.warns(UserWarning, match="below 0.062 .* at least 6 "):
        result = compare([1, 2, 3, 4, 5], [0, 0, 0, 0, 0])
    assert result.interval == (-np.inf, np.inf)
    assert "Too few" in str(result)
    assert "any difference at all is compatible with the data" in str(result)
    assert not compare([1, 2, 3, 4, 5, 6], [0] * 6).warning
    with pytest.warns(UserWarning, match="at least 8 "):
        compare([1, 2, 3, 4, 5, 6], [0] * 6, confidence=0.99)


def test_conclusion_and_caution_say_what_is_shown_and_what_not():
    a, b = pairs(12, 1.0)
    result = compare(a, b, names=("Nesterov", "Adam"))
    assert "Nesterov is higher than that of Adam" in result.conclusion
    lower = compare(b, a, names=("Nesterov", "Adam")).conclusion
    assert "Nesterov is lower than that of Adam" in lower
    assert "no equality" in compare(*pairs(6, 0.0, seed=3)).conclusion
    assert "further seeds" in result.caution
    assert "p too small" in compare(a, b, over="folds").caution


# Arguments, text, dict, plot


@pytest.mark.parametrize(
    ("arguments", "options", "word"),
    [
        (([1, 2], [1]), {}, "same length"),
        (([1, np.nan], [1, 2]), {}, "scores_a"),
        (([1, 2], [[1], [2]]), {}, "scores_b"),
        (([], []), {}, "scores_a"),
        (([1, 2], [3, 4]), {"confidence": 1.0}, "confidence"),
        (([1, 2], [3, 4]), {"over": "weeks"}, "over"),
        (([1, 2], [3, 4]), {"names": ("a", "a")}, "names"),
    ],
)
def test_bad_scores_are_refused(arguments, options, word):
    with pytest.raises(ValueError, match=word):
        compare(*arguments, **options)


def test_text_dict_and_plot_contain_the_numbers():
    result = compare(*pairs(8, 0.2))
    assert f"{result.difference:+.4g}" in str(result)
    assert f"p = {result.p_value:.3g}" in str(result)
    found = json.loads(json.dumps(result.to_dict()))
    assert found["interval"] == list(result.interval)
    assert found["differences"] == result.differences.tolist()
    ax = result.plot()
    np.testing.assert_array_equal(ax.lines[-1].get_xdata(), result.differences)
    plt.close(ax.figure)


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ImportError, match=r"SciPy.*keras_dnn\[tuning\]"):
        compare([1], [2])
