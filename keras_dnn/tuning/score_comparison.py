"""Two models, trained several times each: Wilcoxon's signed-rank test.

F. Wilcoxon, "Individual comparisons by ranking methods", 1945. The interval is that of
J. L. Hodges and E. L. Lehmann, "Estimates of location based on rank tests", 1963.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from keras_dnn import _arguments
from keras_dnn.tuning._comparison import Comparison, conclude, names_of, warn_of_few
from keras_dnn.tuning._optional_packages import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pairing: TypeAlias = Literal["seeds", "folds", "data sets"]

CAUTIONS: dict[Pairing, str] = {
    "seeds": (
        "This holds for further seeds on the same data and split; it says nothing "
        "about other data."
    ),
    "folds": (
        "Folds share training data, which makes p too small; this says nothing about "
        "other data."
    ),
    "data sets": "This holds for similar data sets, if they were not selected for it.",
}


@dataclasses.dataclass(frozen=True)
class ScoreComparison(Comparison):
    """What `compare` found; `print` it, or `plot()` it.

    Attributes:
        names: names of the two models.
        difference: estimated difference of the scores, first minus second: the median
            of the means of all pairs of differences (Hodges and Lehmann).
        interval: confidence interval of that difference; infinite if there are too few
            pairs.
        effect_size: rank-biserial correlation: the fraction of ranks in favour of the
            first minus the fraction in favour of the second, in [-1, 1].
        p_value: two-sided p-value of Wilcoxon's signed-rank test.
        confidence: confidence level of the interval.
        informative: number of pairs that differ.
        conclusion: what may be concluded.
        caution: what may not be concluded.
        warning: says if the pairs are too few to show anything, else empty.
        differences: the difference of each pair.
    """

    differences: np.ndarray

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the difference of each pair, with the interval.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        return plotting.paired_differences(
            self.differences, self.difference, self.interval, self.names, ax
        )


def compare(
    scores_a: Any,
    scores_b: Any,
    *,
    over: Pairing = "seeds",
    confidence: float = 0.95,
    names: tuple[str, str] = ("a", "b"),
) -> ScoreComparison:
    """Tests whether one model scores higher than another, over seeds or folds.

    The `i`-th scores form a pair: same seed, same fold, same data set. The test leaves
    out pairs that do not differ (SciPy's `zero_method="wilcox"`); the interval includes
    them.

    Args:
        scores_a: a score for each pair, accuracy or loss or any other, of shape
            `(pairs,)`. For a training that failed, give the score of a guess.
        scores_b: the scores of the second model.
        over: what the pairs are, `"seeds"`, `"folds"` or `"data sets"`; the caution
            depends on it.
        confidence: confidence level of the interval, in (0, 1). A difference counts as
            shown if `p_value <= 1 - confidence`.
        names: names of the two models, for the texts.

    Returns:
        The difference with its interval, the test, and their meaning in words.

    Raises:
        ValueError: if the scores differ in number or are not finite, or an argument
            lies outside its range.
        ImportError: if SciPy is not installed.

    Example:
        >>> from keras_dnn.tuning import compare
        >>> a = [0.871, 0.874, 0.869, 0.880, 0.876, 0.872, 0.877]
        >>> b = [0.862, 0.867, 0.870, 0.868, 0.866, 0.864, 0.865]
        >>> result = compare(a, b, names=("Nesterov", "SGD"))
        >>> round(result.p_value, 4), round(result.difference, 4)
        (0.0312, 0.009)

    Reference:
        Frank Wilcoxon, "Individual comparisons by ranking methods", 1945. Dave Kerby,
        "The simple difference formula", 2014, for the effect size.
    """
    stats = import_optional("scipy.stats", "SciPy")
    confidence = _arguments.number("confidence", confidence, 0.0, 1.0, "()")
    over = _arguments.choice("over", over, get_args(Pairing))
    pair = names_of(names)
    a, b = _scores("scores_a", scores_a), _scores("scores_b", scores_b)
    if a.shape != b.shape:
        raise ValueError(
            "scores_a and scores_b must have the same length. "
            f"Received: {a.size} and {b.size} scores"
        )
    differences = a - b
    informative = int(np.count_nonzero(differences))
    difference, interval = _estimate(stats, differences, 1 - confidence)
    # SciPy divides zero by zero where no pair differs.
    p_value = float(stats.wilcoxon(differences).pvalue) if informative else 1.0
    return ScoreComparison(
        names=pair,
        difference=difference,
        interval=interval,
        effect_size=_effect_size(stats, differences),
        p_value=p_value,
        confidence=confidence,
        informative=informative,
        conclusion=conclude(pair, "score", difference, interval, p_value, confidence),
        caution=CAUTIONS[over],
        warning=warn_of_few(informative, confidence, "pairs that differ"),
        differences=differences,
    )


def _scores(name: str, values: Any) -> np.ndarray:
    scores = np.asarray(values, dtype="float64")
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(
            f"{name} must be a list of finite numbers. Received: {name}={values!r}"
        )
    return scores


def _effect_size(stats: Any, differences: np.ndarray) -> float:
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    if not ranks.size:
        return 0.0
    return float(np.sign(differences[differences != 0]) @ ranks / ranks.sum())


def _estimate(
    stats: Any, differences: np.ndarray, alpha: float
) -> tuple[float, tuple[float, float]]:
    """Median and order statistics of the means of all pairs of differences."""
    n = len(differences)
    i, j = np.triu_indices(n)
    means = np.sort((differences[i] + differences[j]) / 2)
    cut = _excluded(stats, n, alpha)
    interval = (-np.inf, np.inf)
    if cut:
        interval = (float(means[cut - 1]), float(means[-cut]))
    return float(np.median(means)), interval


def _excluded(stats: Any, n: int, alpha: float) -> int:
    """How many rank sums, from 0 up, have a total probability of at most alpha / 2."""
    low, high = 0, n * (n + 1) // 4
    while low < high:
        middle = (low + high) // 2
        sample = _with_rank_sum(n, middle)
        if stats.wilcoxon(sample, alternative="less").pvalue <= alpha / 2:
            low = middle + 1
        else:
            high = middle
    return low


def _with_rank_sum(n: int, rank_sum: int) -> np.ndarray:
    """Differences without ties whose positive ranks have this sum."""
    sample = -np.arange(1.0, n + 1)
    for rank in range(n, 0, -1):
        if rank <= rank_sum:
            sample[rank - 1] = rank
            rank_sum -= rank
    return sample
