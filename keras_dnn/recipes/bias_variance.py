"""Bias and variance: what a network's errors are made of, and what to do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from keras_dnn import _arguments
from keras_dnn._result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
DONE = ("a lower target, if there is a reason to believe in one",)


@dataclasses.dataclass(frozen=True)
class BiasVariance(Result):
    """What `bias_variance` found; `print` it, or `plot()` it.

    Attributes:
        train_error: on the training set.
        validation_error: on data held out.
        target_error: what could be reached.
        avoidable_bias: training error above the target.
        variance: validation error above the training error.
        diagnosis: `"bias"`, `"variance"`, `"both"` or `"neither"`.
        conclusion: that in words.
        advice: what to try, what helps most against the larger part first.
    """

    train_error: float
    validation_error: float
    target_error: float
    avoidable_bias: float
    variance: float
    diagnosis: str
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
        """Draws what the validation error is made of.

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
    r"""Tells what a network's errors are made of, and what to do about it.

    $$
    e_\mathrm{validation} = e_\mathrm{target}
    + \underbrace{(e_\mathrm{train} - e_\mathrm{target})}_{\text{avoidable bias}}
    + \underbrace{(e_\mathrm{validation} - e_\mathrm{train})}_{\text{variance}}
    $$

    Args:
        train_error: share of wrong answers on the training set, or a loss; with dropout
            off, as by `model.evaluate` or `callbacks.TrainingEvaluation`. That in the
            progress bar of `fit` is too high.
        validation_error: the same on data that were held out.
        target_error: what could be reached: that of people, of the best published
            model, or that which noise in the labels leaves.
        tolerance: the least difference that is worth work, in the same unit.

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
    # As large as the tolerance is worth work, also after rounding.
    least = tolerance - 1e-12
    parts = {"bias": bias >= least, "variance": variance >= least}
    if not tolerance:
        parts = {"bias": bias > 0, "variance": variance > 0}
    named = [name for name, large in parts.items() if large]
    if len(named) == 2:
        diagnosis = "both"
        larger = "bias" if bias >= variance else "variance"
        conclusion = (
            f"Both: the network has not learnt what it was shown, and knows it better "
            f"than what it was not. {larger.capitalize()} is the larger part."
        )
        advice: tuple[str, ...] = AGAINST_BIAS + AGAINST_VARIANCE
        if larger == "variance":
            advice = AGAINST_VARIANCE + AGAINST_BIAS
        # What helps against one part makes the other worse.
        advice = tuple(a for a in dict.fromkeys(advice) if "regularisation" not in a)
    elif named == ["bias"]:
        diagnosis = "bias"
        conclusion = "High bias: the network underfits what it was shown."
        advice = AGAINST_BIAS
    elif named == ["variance"]:
        diagnosis = "variance"
        conclusion = "High variance: the network overfits what it was shown."
        advice = AGAINST_VARIANCE
    else:
        diagnosis = "neither"
        conclusion = f"Neither: no part is as large as {tolerance:g}."
        advice = DONE
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
