"""A runtime with a model, as it was measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_dnn._result import Result

NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Candidate(Result):
    """A runtime with the model, as it was measured.

    Attributes:
        name: of the runtime; `"model.predict"` or `"model(x)"` for the Keras model.
        bits: of a weight.
        seconds: median duration of a call with one batch, warm and undisturbed by the
            other candidates, as if all had been timed at once; NaN if the candidate
            failed.
        speed_up: how many times as fast as `model.predict`; NaN if it failed.
        largest_difference: between its outputs and the model's, as a fraction of the
            standard deviation of the model's; of several outputs, the one that differs
            most. NaN if it failed or an output is NaN.
        mean_difference: the same, on average.
        accuracy: on the labels, if there were any.
        bytes: size of its files, uncompressed; `None` for the Keras model.
        within: whether the candidate is within the tolerance.
        failure: why this model or machine does not have the candidate, or what of its
            outputs is not finite; empty if all is well.
        column_differences: for each output, the largest difference in each column (an
            entry of its last axis, such as a class), as a fraction of the column's
            standard deviation.
        worst_column: the output and the column that differ most, such as `"[3]"` or
            `"age[0]"`; empty if there is one column.
        class_accuracies: the accuracy on the rows of each class, by label, if there
            were labels.
        worst_class: the class that loses most accuracy.
    """

    name: str
    bits: int
    seconds: float = NAN
    speed_up: float = NAN
    largest_difference: float = NAN
    mean_difference: float = NAN
    accuracy: float | None = None
    bytes: int | None = None
    within: bool = False
    failure: str = ""
    column_differences: tuple[tuple[float, ...], ...] = ()
    worst_column: str = ""
    class_accuracies: dict[int, float] | None = None
    worst_class: int | None = None

    @property
    def worst_column_difference(self) -> float:
        """The largest difference in the worst column, in its standard deviations."""
        return max((d for each in self.column_differences for d in each), default=NAN)

    @classmethod
    def _from_dict(cls, found: dict[str, Any]) -> Candidate:
        columns = tuple(map(tuple, found.get("column_differences", ())))
        by_class = found.get("class_accuracies")
        if by_class is not None:
            by_class = {int(kind): value for kind, value in by_class.items()}
        changed = {"column_differences": columns, "class_accuracies": by_class}
        return cls(**{**found, **changed})
