"""Two models, trained once each: McNemar's exact test on their predictions.

Q. McNemar, "Note on the sampling error of the difference between correlated
proportions", 1947. The interval is that of T. Tango, "Equivalence test and confidence
interval for the difference in proportions for the paired-sample design", 1998.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn import _arguments
from keras_dnn.tuning._comparison import Comparison, conclude, names_of, warn_of_few
from keras_dnn.tuning._optional_packages import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAUTION = (
    "This holds for these two trained networks on further data like this; after "
    "training with another seed the order may be reversed. compare() tests that."
)


@dataclasses.dataclass(frozen=True)
class PredictionComparison(Comparison):
    """What `compare_predictions` found; `print` it, or `plot()` it.

    Attributes:
        names: names of the two models.
        difference: difference of the accuracies, first minus second.
        interval: confidence interval of that difference.
        effect_size: of the inputs that only one network classifies correctly, the
            fraction of the first minus the fraction of the second, in [-1, 1].
        p_value: two-sided p-value of McNemar's exact test.
        confidence: confidence level of the interval.
        informative: number of inputs that only one network classifies correctly.
        conclusion: what may be concluded.
        caution: what may not be concluded.
        warning: says if too few inputs are informative, else empty.
        table: counts of inputs: both right, only the first; only the second, neither.
    """

    table: np.ndarray

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws how often both, one or neither of the networks is right.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        return plotting.agreement(self.table, self.names, ax)


def compare_predictions(
    y: Any,
    a: Any,
    b: Any,
    *,
    confidence: float = 0.95,
    names: tuple[str, str] = ("a", "b"),
) -> PredictionComparison:
    """Tests whether one network classifies better than another, on one test set.

    Only inputs count that one network alone classifies correctly: if both are equally
    good, each is right on half of them, whatever else they do.

    Args:
        y: true classes, of shape `(n,)` or `(n, 1)`, or one-hot `(n, classes)`.
        a: predictions: classes, or what `predict` gives, probabilities of shape
            `(n, classes)`, or `(n, 1)` for two classes.
        b: the predictions of the second network.
        confidence: confidence level of the interval, in (0, 1). A difference counts as
            shown if `p_value <= 1 - confidence`.
        names: names of the two networks, for the texts.

    Returns:
        The difference in accuracy with its interval, the test, and their meaning in
        words.

    Raises:
        ValueError: if the three differ in length, or an argument lies outside its
            range.
        ImportError: if SciPy is not installed.

    Example:
        >>> import numpy as np
        >>> from keras_dnn.tuning import compare_predictions
        >>> y = np.zeros(50, int)
        >>> a, b = y.copy(), y.copy()
        >>> a[:2] = 1
        >>> b[2:14] = 1
        >>> result = compare_predictions(y, a, b)
        >>> round(result.p_value, 4), round(result.difference, 2)
        (0.0129, 0.2)

    Reference:
        Quinn McNemar, "Note on the sampling error of the difference between correlated
        proportions", 1947. Toshiro Tango, "Equivalence test and confidence interval
        for the difference in proportions for the paired-sample design", 1998.
    """
    stats = import_optional("scipy.stats", "SciPy")
    confidence = _arguments.number("confidence", confidence, 0.0, 1.0, "()")
    pair = names_of(names)
    truth = _classes("y", y)
    right = []
    for name, values in (("a", a), ("b", b)):
        predicted = _classes(name, values)
        _check_labels(y, truth, name, values)
        if predicted.shape != truth.shape or not truth.size:
            raise ValueError(
                f"y and {name} must have the same length, at least 1. "
                f"Received: y of {truth.size}, {name} of {predicted.size}"
            )
        right.append(predicted == truth)
    right_a, right_b = right
    only_a = int(np.sum(right_a & ~right_b))
    only_b = int(np.sum(right_b & ~right_a))
    informative, n = only_a + only_b, truth.size
    both = int(np.sum(right_a & right_b))
    difference = (only_a - only_b) / n
    interval = _interval(stats, only_a, only_b, n, 1 - confidence)
    p_value = 1.0
    if informative:
        p_value = float(stats.binomtest(only_a, informative).pvalue)
    return PredictionComparison(
        names=pair,
        difference=difference,
        interval=interval,
        effect_size=(only_a - only_b) / max(informative, 1),
        p_value=p_value,
        confidence=confidence,
        informative=informative,
        conclusion=conclude(
            pair, "accuracy", difference, interval, p_value, confidence
        ),
        caution=CAUTION,
        warning=warn_of_few(
            informative, confidence, "inputs that one network alone classifies right"
        ),
        table=np.array([[both, only_a], [only_b, n - both - informative]]),
    )


def _check_labels(y: Any, truth: np.ndarray, name: str, values: Any) -> None:
    """Refuses labels that no class of the probabilities can equal."""
    predicted = np.asarray(values)
    if predicted.ndim == 2 and predicted.shape[1] > 1:
        classes = predicted.shape[1]
    elif predicted.dtype.kind == "f" and (predicted != np.round(predicted)).any():
        classes = 2
    else:
        return
    if not np.isin(truth, np.arange(classes)).all():
        raise ValueError(
            f"y must hold integers from 0 to {classes - 1}, as {name} holds "
            f"probabilities of {classes} classes. Received: y={y!r}"
        )


def _classes(name: str, values: Any) -> np.ndarray:
    """The classes that classes, one-hot vectors or probabilities stand for."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] > 1:
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise ValueError(f"{name} must hold numbers. Received: {name} with NaN")
        return np.asarray(array.argmax(axis=1))
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} must have shape (n,) or (n, classes). "
            f"Received: {name} of shape {array.shape}"
        )
    array = array.reshape(-1)
    if array.dtype.kind == "f" and (array != np.round(array)).any():
        # Not `array < 0`, which is false for NaN.
        if not ((array >= 0) & (array <= 1)).all() or name == "y":
            raise ValueError(
                f"{name} must be classes{' or probabilities' * (name != 'y')}. "
                f"Received: {name} from {array.min():g} to {array.max():g}"
            )
        return array > 0.5
    return array


def _interval(
    stats: Any, only_a: int, only_b: int, n: int, alpha: float
) -> tuple[float, float]:
    """Tango's score interval, widened where the exact test is more conservative.

    Otherwise the interval might exclude zero where `p_value` shows no difference.
    """
    optimize = import_optional("scipy.optimize", "SciPy")
    z = stats.norm.ppf(1 - alpha / 2)

    def score(delta: float, shift: float) -> float:
        # The maximum-likelihood estimate of `only_b / n` given the difference `delta`.
        b = (2 * n - only_a + only_b) * delta - only_a - only_b
        c = -only_b * delta * (1 - delta)
        q = (np.sqrt(b**2 - 8 * n * c) - b) / (4 * n)
        variance = n * (2 * q + delta * (1 - delta))
        return float(only_a - only_b - n * delta - shift * np.sqrt(max(variance, 0)))

    def limit(shift: float) -> float:
        # The observed difference is a root too where its variance is 0.
        end = -float(np.sign(shift))
        observed = (only_a - only_b) / n + 1e-12 * end
        if score(end, shift) * score(observed, shift) >= 0:
            return end
        return float(optimize.brentq(score, end, observed, args=(shift,), xtol=1e-14))

    low, high = limit(z), limit(-z)
    if only_a + only_b:
        test = stats.binomtest(only_a, only_a + only_b)
        exact = test.proportion_ci(1 - alpha, method="exact")
        fraction = (only_a + only_b) / n
        low = min(low, (2 * exact.low - 1) * fraction)
        high = max(high, (2 * exact.high - 1) * fraction)
    return low, high
