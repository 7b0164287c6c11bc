"""Bias and variance: the parts of a network's error, and what to do about them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeAlias

from keras_dnn import _arguments
from keras_dnn._result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Diagnosis: TypeAlias = Literal["bias", "variance", "both", "neither"]

AGAINST_BIAS = (
    "a larger network: more layers, more units",
    "longer training, or a better learning rate and schedule",
    "less regularisation: a lower dropout rate, a smaller l2",
    "another architecture",
)
AGAINST_VARIANCE = (
    "more data, or more varied by augmentation",
    "more regularisation: early stopping, a higher dropout rate, l2, max-norm",
    "another architecture",
)
AGAINST_NEITHER = ("a lower target, if there is reason to believe in one",)


@dataclasses.dataclass(frozen=True)
class BiasVariance(Result):
    """The parts of an error, and what to do about them; `print` it, or `plot()` it.

    Attributes:
        train_error: the error on the training set.
        validation_error: the error on validation data.
        target_error: the error that could be reached.
        avoidable_bias: the training error minus the target.
        variance: the validation error minus the training error.
        diagnosis: which parts are large: `"bias"`, `"variance"`, `"both"` or
            `"neither"`.
        conclusion: the diagnosis in a sentence.
        advice: what to try, first what helps against the larger part.
    """

    train_error: float
    validation_error: float
    target_error: float
    avoidable_bias: float
    variance: float
    diagnosis: Diagnosis
    conclusion: str
    advice: tuple[str, ...]

    def __str__(self) -> str:
        numbers = (
            f"target {self.target_error:.4g} {self.avoidable_bias:+.4g} avoidable bias "
            f"= training {self.train_error:.4g} {self.variance:+.4g} variance "
            f"= validation {self.validation_error:.4g}"
        )
        return "\n".join([numbers, self.conclusion, *(f"- {a}" for a in self.advice)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draws the parts of the validation error.

        Args:
            ax: where to draw; a new figure if `None`.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        return plotting.error_parts(
            self.target_error, self.train_error, self.validation_error, ax
        )


def bias_variance(
    train_error: float,
    validation_error: float,
    target_error: float = 0.0,
    *,
    tolerance: float = 0.01,
) -> BiasVariance:
    r"""Splits a network's error into its parts, and says what to do about them.

    $$
    e_\mathrm{validation} = e_\mathrm{target}
    + \underbrace{(e_\mathrm{train} - e_\mathrm{target})}_{\text{avoidable bias}}
    + \underbrace{(e_\mathrm{validation} - e_\mathrm{train})}_{\text{variance}}
    $$

    Args:
        train_error: fraction of wrong answers on the training set, or a loss; without
            dropout, as from `model.evaluate` or `callbacks.TrainingEvaluation`. The one
            in the progress bar of `fit` is too high.
        validation_error: the same on validation data.
        target_error: the error that could be reached: that of people, of the best
            published model, or what noise in the labels leaves.
        tolerance: the smallest part that is worth work, in the same unit.

    Returns:
        A `BiasVariance`.

    Raises:
        ValueError: if an error is negative or not a finite number.

    Example:
        >>> from keras_dnn.recipes import bias_variance
        >>> result = bias_variance(0.08, 0.10, target_error=0.01)
        >>> result.diagnosis, round(result.avoidable_bias, 3), round(result.variance, 3)
        ('both', 0.07, 0.02)
        >>> result.advice[0]
        'a larger network: more layers, more units'
        >>> bias_variance(0.08, 0.10, target_error=0.075).diagnosis
        'variance'
    """
    train = _arguments.number("train_error", train_error)
    validation = _arguments.number("validation_error", validation_error)
    target = _arguments.number("target_error", target_error)
    tolerance = _arguments.number("tolerance", tolerance)
    bias, variance = train - target, validation - train
    # A part as large as the tolerance counts, also after rounding.
    least = tolerance - 1e-12
    parts = {"bias": bias >= least, "variance": variance >= least}
    if not tolerance:
        parts = {"bias": bias > 0, "variance": variance > 0}
    named = [name for name, large in parts.items() if large]
    if len(named) == 2:
        diagnosis: Diagnosis = "both"
        larger = "bias" if bias >= variance else "variance"
        conclusion = (
            "Both: the network underfits its training data, and does worse on other "
            f"data. {larger.capitalize()} is the larger part."
        )
        advice: tuple[str, ...] = AGAINST_BIAS + AGAINST_VARIANCE
        if larger == "variance":
            advice = AGAINST_VARIANCE + AGAINST_BIAS
        # Regularisation helps against one part and makes the other worse.
        advice = tuple(a for a in dict.fromkeys(advice) if "regularisation" not in a)
    elif named == ["bias"]:
        diagnosis = "bias"
        conclusion = "High bias: the network underfits its training data."
        advice = AGAINST_BIAS
    elif named == ["variance"]:
        diagnosis = "variance"
        conclusion = "High variance: the network overfits its training data."
        advice = AGAINST_VARIANCE
    else:
        diagnosis = "neither"
        conclusion = f"Neither: no part of the error is as large as {tolerance:g}."
        advice = AGAINST_NEITHER
    return BiasVariance(
        train_error=train,
        validation_error=validation,
        target_error=target,
        avoidable_bias=bias,
        variance=variance,
        diagnosis=diagnosis,
        conclusion=conclusion,
        advice=advice,
    )
