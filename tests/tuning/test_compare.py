"""Comparisons against SciPy, hand-worked tables and second implementations."""

import contextlib
import itertools
import json
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import optimize, stats

from keras_dnn.tuning import compare, compare_predictions

generator = np.random.default_rng(5)


def pairs(n, shift=0.0, seed=0):
    noise = np.random.default_rng(seed)
    a = noise.normal(size=n)
    return a, a - shift - 0.3 * noise.normal(size=n)


def brute_force_p(differences):
    """The share of all signs that lead the rank sum as far from its middle."""
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(list(itertools.product([0, 1], repeat=len(ranks))))
    sums, middle = signs @ ranks, ranks.sum() / 2
    seen = (differences > 0) @ ranks
    return np.mean(np.abs(sums - middle) >= abs(seen - middle) - 1e-9)


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
    """How many rank sums from 0 up hold `alpha / 2`, from the generating function."""
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.polymul(counts, [1.0] + [0.0] * (rank - 1) + [1.0])
    below = np.cumsum(counts) / 2.0**n
    return int(np.sum(below <= alpha / 2))


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [8, 15, 30])
def test_interval_holds_the_means_of_pairs_that_the_test_leaves(n, confidence):
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


def test_interval_covers_what_is_true_as_often_as_promised():
    d = np.random.default_rng(1).normal(loc=0.3, size=(800, 9))
    held = [
        low <= 0.3 <= high
        for low, high in (compare(x, 0 * x, confidence=0.9).interval for x in d)
    ]
    assert 0.9 - 0.03 < np.mean(held) < 0.95


def test_effect_size_of_a_hand_worked_example():
    # Ranks 1, 2, 3, 4, 5.5, 5.5 with signs - + + + + +: (20 - 1) / 21.
    d = np.array([-1, 2, 3, 4, 5, 5.0])
    result = compare(d, 0 * d)
    assert result.effect_size == pytest.approx(19 / 21, rel=1e-14)
    assert compare(0 * d, d).effect_size == pytest.approx(-19 / 21, rel=1e-14)


def test_swapped_scores_say_the_same_the_other_way_round():
    a, b = pairs(10, 0.2)
    there, back = compare(a, b), compare(b, a)
    assert back.difference == pytest.approx(-there.difference, abs=1e-14)
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))
    assert back.p_value == there.p_value


def test_equal_scores_show_nothing():
    with pytest.warns(UserWarning, match="Too few"):
        result = compare([0.5] * 8, [0.5] * 8)
    assert (result.p_value, result.effect_size, result.difference) == (1.0, 0.0, 0.0)
    assert "No difference" in str(result)


def test_too_few_pairs_are_warned_of_with_the_number_needed():
    with pytest.warns(UserWarning, match="below 0.062 .* at least 6 "):
        result = compare([1, 2, 3, 4, 5], [0, 0, 0, 0, 0])
    assert result.interval == (-np.inf, np.inf)
    assert "Too few" in str(result)
    assert "any difference at all would fit" in str(result)
    assert not compare([1, 2, 3, 4, 5, 6], [0] * 6).warning
    with pytest.warns(UserWarning, match="at least 8 "):
        compare([1, 2, 3, 4, 5, 6], [0] * 6, confidence=0.99)


def test_words_say_which_is_higher_and_what_is_not_shown():
    a, b = pairs(12, 1.0)
    result = compare(a, b, names=("Nesterov", "Adam"))
    assert "Nesterov is higher than that of Adam" in result.conclusion
    lower = compare(b, a, names=("Nesterov", "Adam")).conclusion
    assert "Nesterov is lower than that of Adam" in lower
    assert "no equality" in compare(*pairs(6, 0.0, seed=3)).conclusion
    assert "further seeds" in result.caution
    assert "p too small" in compare(a, b, over="folds").caution


# Predictions


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
    share = (only_a - only_b) / (only_a + only_b)
    assert result.effect_size == pytest.approx(share, rel=1e-14)
    assert result.informative == only_a + only_b


def test_as_many_on_both_sides_is_no_evidence():
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
def test_interval_is_tangos_or_what_the_exact_test_leaves(only_a, only_b, both):
    y, a, b = predictions(only_a, only_b, both)
    result = compare_predictions(y, a, b, confidence=0.9)
    low, high = tango(only_a, only_b, len(y), 0.1)
    share = stats.binomtest(only_a, only_a + only_b).proportion_ci(0.9, "exact")
    scale = (only_a + only_b) / len(y)
    expected = (
        min(low, (2 * share.low - 1) * scale),
        max(high, (2 * share.high - 1) * scale),
    )
    assert result.interval == pytest.approx(expected, abs=1e-6)
    assert low == pytest.approx(expected[0], abs=0.03)


def test_interval_and_test_never_contradict_each_other():
    for m in range(1, 40):
        for only_a in range(m + 1):
            y, a, b = predictions(only_a, m - only_a, both=60)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Of too few.
                result = compare_predictions(y, a, b)
            low, high = result.interval
            assert low <= result.difference <= high
            assert (low > 0 or high < 0) == (result.p_value <= 0.05)


def test_probabilities_and_classes_say_the_same():
    y = generator.integers(0, 3, 60)
    a, b = (generator.dirichlet(np.ones(3), 60) for _ in range(2))
    expected = compare_predictions(y, a.argmax(1), b.argmax(1))
    one_hot = compare_predictions(np.eye(3)[y], a, b)
    assert one_hot.p_value == expected.p_value
    np.testing.assert_array_equal(one_hot.table, expected.table)


def test_probabilities_of_two_classes_are_cut_at_a_half():
    y = generator.integers(0, 2, (40, 1))
    a, b = generator.uniform(size=(2, 40, 1))
    expected = compare_predictions(y, a > 0.5, b > 0.5)
    np.testing.assert_array_equal(compare_predictions(y, a, b).table, expected.table)


def test_two_that_always_agree_show_nothing_and_warn():
    y = np.arange(10)
    with pytest.warns(UserWarning, match="0 predictions"):
        result = compare_predictions(y, y, y)
    assert (result.p_value, result.difference) == (1.0, 0.0)
    # Where none differ, Tango's equation is n d = z sqrt(n d (1 - d)).
    z2 = stats.norm.ppf(0.975) ** 2
    assert result.interval == pytest.approx((-z2 / (10 + z2), z2 / (10 + z2)), 1e-9)


# Arguments, text, dict, picture


@pytest.mark.parametrize(
    ("arguments", "options", "word"),
    [
        (([1, 2], [1]), {}, "as many"),
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


@pytest.mark.parametrize(
    ("y", "a", "word"),
    [
        ([0, 1], [0], "as many"),
        ([], [], "at least one"),
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


@pytest.mark.parametrize(
    "result",
    [
        compare(*pairs(8, 0.2)),
        compare_predictions(*predictions(12, 3)),
    ],
)
def test_text_dict_and_picture_carry_the_numbers(result):
    assert f"{result.difference:+.4g}" in str(result)
    assert f"p = {result.p_value:.3g}" in str(result)
    found = json.loads(json.dumps(result.to_dict()))
    assert found["interval"] == list(result.interval)
    ax = result.plot()
    if hasattr(result, "table"):
        widths = [bar.get_width() for bar in ax.patches]
        assert widths == result.table.ravel().tolist()
    else:
        np.testing.assert_array_equal(ax.lines[-1].get_xdata(), result.differences)
    plt.close(ax.figure)


@pytest.mark.parametrize("call", [compare, compare_predictions])
def test_without_scipy_the_error_names_the_extra(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(ImportError, match=r"SciPy.*keras_dnn\[tuning\]"):
        call([0, 1], [0, 1], [0, 1]) if call is compare_predictions else call([1], [2])
