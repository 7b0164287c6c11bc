"""Calibration: whether a classifier is right as often as its confidence says.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
networks", 2017; G. W. Brier, "Verification of forecasts expressed in terms of
probability", 1950.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn import _arguments
from keras_dnn._result import Result
from keras_dnn.models.monte_carlo import MCPrediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

SMALLEST = float(np.finfo(np.float64).eps)
"""Smaller probabilities count as this one in the logarithm, as in scikit-learn."""


@dataclasses.dataclass(frozen=True)
class Calibration(Result):
    """How far the confidence of a classifier is from its accuracy.

    Attributes:
        expected_calibration_error: mean difference between confidence and accuracy
            over the bins, weighted by the number of inputs in each.
        maximum_calibration_error: the largest difference in a bin that is not empty.
        brier_score: mean squared distance of the probabilities from the one-hot label,
            summed over the classes (0 to 2, as in Brier 1950; for two classes it is
            twice the square of the error in one of them).
        negative_log_likelihood: mean of the negative natural logarithm of the
            probability of the true class, which counts as 2.2e-16 where it is smaller.
        accuracy: fraction of inputs whose most probable class is the true one.
        mean_confidence: mean probability of the most probable class.
        bin_edges: of shape `(bins + 1,)`; a bin includes its upper edge.
        bin_confidences: mean confidence in each bin, NaN where it is empty.
        bin_accuracies: accuracy in each bin, NaN where it is empty.
        bin_counts: inputs in each bin.
    """

    expected_calibration_error: float
    maximum_calibration_error: float
    brier_score: float
    negative_log_likelihood: float
    accuracy: float
    mean_confidence: float
    bin_edges: np.ndarray
    bin_confidences: np.ndarray
    bin_accuracies: np.ndarray
    bin_counts: np.ndarray

    def __str__(self) -> str:
        gap = self.mean_confidence - self.accuracy
        direction = "more" if gap > 0 else "less"
        return (
            f"accuracy {self.accuracy:.4f}, confidence {self.mean_confidence:.4f} "
            f"({abs(gap):.4f} {direction}) on {self.bin_counts.sum()} inputs\n"
            f"expected calibration error {self.expected_calibration_error:.4f}, "
            f"maximum {self.maximum_calibration_error:.4f}\n"
            f"Brier score {self.brier_score:.4f}, "
            f"negative log-likelihood {self.negative_log_likelihood:.4f}"
        )

    def plot(self) -> Figure:
        """Draws the reliability diagram: accuracy over confidence, bin by bin.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        bins = (self.bin_confidences, self.bin_accuracies, self.bin_counts)
        return plotting.reliability({"model": bins})


def calibration(
    y: ArrayLike, prediction: MCPrediction | ArrayLike, *, bins: int = 15
) -> Calibration:
    r"""Compares how sure a classifier is with how often it is right.

    With bins $B$ of equal width over the confidence, the probability of the most
    probable class,

    $$
    \mathrm{ECE} = \sum_b \frac{|B_b|}{n}
    \left| \mathrm{acc}(B_b) - \mathrm{conf}(B_b) \right|
    $$

    The expected calibration error depends on the number of bins, and is 0 for a
    classifier that answers everything with the frequencies of the classes. The Brier
    score and the negative log-likelihood need no bins and are lowest for the true
    probabilities.

    Args:
        y: true classes: integers of shape `(n,)` or `(n, 1)`, or one-hot rows.
        prediction: an `MCPrediction` of one output, or probabilities: of shape
            `(n, classes)`, or `(n,)` or `(n, 1)` for the second of two classes.
        bins: number of bins into which the confidence is divided.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: if `y` does not hold labels, `prediction` does not hold
            probabilities, their lengths differ, they are empty, or `bins` is not
            positive.

    Example:
        >>> from keras_dnn.models import calibration
        >>> found = calibration([0, 1, 1, 0], [0.1, 0.9, 0.6, 0.6])
        >>> found.accuracy, round(found.mean_confidence, 2)
        (0.75, 0.75)
        >>> round(found.brier_score, 2)
        0.27

    Reference:
        Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks",
        2017. Brier, "Verification of forecasts expressed in terms of probability",
        1950.
    """
    bins = _arguments.count("bins", bins)
    p = _probabilities(prediction)
    labels = _labels(y, *p.shape)
    rows = np.arange(len(p))
    right = p.argmax(axis=1) == labels
    confidence = p.max(axis=1)

    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidences = np.bincount(place, confidence, bins) / counts
        accuracies = np.bincount(place, right, bins) / counts
    gaps = np.abs(accuracies - confidences)
    truth = np.zeros_like(p)
    truth[rows, labels] = 1.0
    return Calibration(
        expected_calibration_error=float(np.nansum(gaps * counts) / len(p)),
        maximum_calibration_error=float(np.nanmax(gaps)),
        brier_score=float(np.square(p - truth).sum(axis=1).mean()),
        negative_log_likelihood=float(
            -np.log(np.maximum(p[rows, labels], SMALLEST)).mean()
        ),
        accuracy=float(right.mean()),
        mean_confidence=float(confidence.mean()),
        bin_edges=edges,
        bin_confidences=confidences,
        bin_accuracies=accuracies,
        bin_counts=counts,
    )


def _probabilities(prediction: MCPrediction | ArrayLike) -> np.ndarray:
    """Probabilities in float64, a row per input and a column per class."""
    if isinstance(prediction, MCPrediction):
        mean = prediction.mean
        if isinstance(mean, list):
            raise ValueError(
                "prediction must be of one output: give prediction.mean[i]. "
                f"Received: {len(mean)} outputs"
            )
        prediction = mean
    try:
        p = np.asarray(prediction, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"prediction must hold probabilities. Received: prediction={prediction!r}"
        ) from error
    if p.ndim not in (1, 2) or p.size == 0:
        raise ValueError(
            "prediction must have shape (n,), (n, 1) or (n, classes) and hold at least "
            f"one input. Received: shape {p.shape}"
        )
    finite = np.isfinite(p.reshape(len(p), -1)).all(axis=1)
    if not finite.all():
        raise ValueError(
            "prediction must hold probabilities in [0, 1]. Received: NaN or infinity "
            f"in {(~finite).sum()} rows, first in row {finite.argmin()}"
        )
    if not ((p >= 0) & (p <= 1 + 1e-6)).all():
        raise ValueError(
            "prediction must hold probabilities in [0, 1]. Received: values from "
            f"{p.min():.6g} to {p.max():.6g}"
        )
    if p.ndim == 1 or p.shape[1] == 1:
        p = p.reshape(-1)
        return np.stack([1.0 - p, p], axis=1)
    off = np.abs(p.sum(axis=1) - 1.0).max()
    if off > 1e-2:
        raise ValueError(
            "prediction must hold rows that add up to 1. Received: a row whose sum is "
            f"off by {off:.3g}"
        )
    return p


def _labels(y: ArrayLike, rows: int, classes: int) -> np.ndarray:
    """Labels as integers of shape `(rows,)`."""
    found = np.asarray(y)
    if found.shape == (rows, classes):
        if not (np.isin(found, (0, 1)).all() and (found.sum(axis=1) == 1).all()):
            raise ValueError(
                f"y of shape {found.shape} must hold one-hot rows. Received: y={y!r}"
            )
        return np.asarray(found.argmax(axis=1))
    if found.shape not in ((rows,), (rows, 1)):
        raise ValueError(
            f"y must have shape ({rows},), ({rows}, 1) or ({rows}, {classes}), as "
            f"prediction has {rows} inputs. Received: shape {found.shape}"
        )
    found = found.reshape(-1)
    if not np.isin(found, np.arange(classes)).all():
        raise ValueError(
            f"y must hold integers from 0 to {classes - 1}. Received: {y!r}"
        )
    return found.astype(np.intp)
