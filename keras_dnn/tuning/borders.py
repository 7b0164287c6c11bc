"""Whether the best of a search lies on the border of what was searched."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_dnn import _arguments
from keras_dnn._result import Result
from keras_dnn.tuning._optional import extra
from keras_dnn.tuning._search_range import Range, range_of
from keras_dnn.tuning._trials import found, has, values
from keras_dnn.tuning.dimensions import COMPLEMENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 5
"""How many of the best trials are asked whether they say the same."""


@dataclasses.dataclass(frozen=True)
class Border(Result):
    """A hyperparameter whose best value lies on the border of its range.

    Attributes:
        name: of the hyperparameter.
        value: its best value.
        side: `"lower"` or `"upper"`.
        scale: on which it was searched.
        searched: the range, lowest and highest; of a choice, its values.
        next_range: the one to try next.
        agreeing: of the five best trials, or of all if there are fewer, how many lie
            in the quarter of the range at that side.
        asked: how many trials that is out of.
    """

    name: str
    value: float
    side: str
    scale: str
    searched: tuple[float, ...]
    next_range: tuple[float, ...]
    agreeing: int
    asked: int

    def __str__(self) -> str:
        return (
            f"{self.name}: the best, {self.value:.4g}, lies at the {self.side} end of "
            f"{_words(self.searched, self.scale)}, and {self.agreeing} of the best "
            f"{self.asked} in the quarter there. "
            f"Try {_words(self.next_range, self.scale)}."
        )


@dataclasses.dataclass(frozen=True)
class BorderAlarm(Result):
    """What `border_alarm` found; `print` it, `plot()` it, or ask `if alarm:`.

    Attributes:
        borders: a `Border` for each hyperparameter whose best value lies on one.
        space: KerasTuner's `HyperParameters` to search next: those ranges moved, the
            others as they were.
        scores: of the trials that ended well, the best first.
        values: of these trials, by the names that KerasTuner knows, of all
            hyperparameters that have an order; NaN where one was not active.
        objective: what the scores are.
    """

    borders: tuple[Border, ...]
    space: Any
    scores: np.ndarray
    values: dict[str, np.ndarray]
    objective: str

    def __bool__(self) -> bool:
        return bool(self.borders)

    def __str__(self) -> str:
        if not self.borders:
            return (
                f"The best of {len(self.scores)} trials lies inside all of the "
                f"{len(self.values)} ranges."
            )
        return "\n".join(map(str, self.borders))

    def to_dict(self) -> dict[str, Any]:
        """Gives the result as plain numbers, lists and texts, ready for JSON.

        Returns:
            A dict with an entry for each attribute.
        """
        found = super().to_dict()
        found["borders"] = [border.to_dict() for border in self.borders]
        found["space"] = self.space.get_config()
        return found

    def plot(self) -> Figure:
        """Draws the scores over each hyperparameter, with the borders of its range.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        logs = {
            hp.name
            for hp in self.space.space
            if getattr(hp, "sampling", "linear") == "log"
        }
        alarms = {border.name for border in self.borders}
        return plotting.trials(
            self.values,
            self.scores,
            log=[name for name in self.values if name in logs],
            alarms=[n for n in self.values if n.removeprefix(COMPLEMENT) in alarms],
            objective=self.objective,
        )


def border_alarm(tuner: Any, *, margin: float = 0.1) -> BorderAlarm:
    """Tells whether better values may lie beyond the ranges that were searched.

    If the best value lies at the end of its range, the optimum may lie outside. What
    counts as the end is measured on the scale of the search: a share of the decades of
    a log range. Of numbers with a step or from a list, the first and the last are ends
    however few there are.

    By chance alone an alarm is raised for a hyperparameter that does not matter in one
    of five searches at `margin=0.1`: see whether the next best trials agree.

    The range to try next is as wide on its scale, with the best value in the middle.
    Counts do not go below 1, what was not negative stays so, and what began at 0 and
    ended at 1 or below stays a share; there is no alarm at such a limit. Booleans,
    texts and lists of two have no border.

    Args:
        tuner: a tuner of KerasTuner, of any kind, after `search`.
        margin: how near to its end, as a share of the range.

    Returns:
        What lies on a border, and the space to search next.

    Raises:
        ValueError: if no trial was completed or `margin` is not in [0, 0.5).
        ImportError: if KerasTuner is not installed.

    Example:
        >>> import tempfile
        >>> import keras_tuner
        >>> from keras_dnn.tuning import border_alarm, log_uniform
        >>> class Search(keras_tuner.RandomSearch):
        ...     def run_trial(self, trial, **options):
        ...         rate = log_uniform("rate", 1e-4, 1e-2)(trial.hyperparameters)
        ...         return (rate - 0.1) ** 2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     search = Search(max_trials=20, seed=1, directory=folder)
        ...     search.search(verbose=0)
        >>> alarm = border_alarm(search)
        >>> [(border.name, border.side) for border in alarm.borders]
        [('rate', 'upper')]
        >>> space = alarm.space  # For keras_tuner.RandomSearch(hyperparameters=space).
    """
    margin = _arguments.number("margin", margin, 0.0, 0.5)
    space, trials, objective = found(tuner)
    borders, hps, table = [], [], {}
    for hp in space:
        scope = range_of(hp)
        tried = values(hp, trials)
        if scope is not None and tried:
            table[hp.name] = np.array(
                [
                    trial.hyperparameters.values[hp.name] if has(hp, trial) else np.nan
                    for trial in trials
                ]
            )
            beyond = moved(scope, tried[0], margin)
            if beyond is not None:
                borders.append(_border(scope, tried, margin, beyond))
                hp = beyond  # noqa: PLW2901
        hps.append(hp)
    return BorderAlarm(
        borders=tuple(borders),
        space=space_of(hps),
        scores=np.array([trial.score for trial in trials]),
        values=table,
        objective=objective,
    )


def side_of(scope: Range, value: float, margin: float) -> int:
    """-1 or 1 if a value lies at the first or last end of its range, else 0."""
    position = scope.position(value)
    if min(position, 1 - position) > margin + 1e-9:
        return 0
    return -1 if position < 0.5 else 1


def moved(scope: Range, value: float, margin: float) -> Any:
    """The range around a value on its border, `None` if there is nothing beyond."""
    side = side_of(scope, value, margin)
    if not side:
        return None
    position = scope.position(value)
    hp = scope.between(position - 0.5, position + 0.5, value)
    end = 0 if side < 0 else -1
    return None if scope.of(hp).values[end] == scope.values[end] else hp


def _border(scope: Range, tried: list[Any], margin: float, hp: Any) -> Border:
    side = side_of(scope, tried[0], margin)
    ends = [scope.shown(value) for value in scope.values]
    end = ends[0 if side < 0 else -1]
    best = [scope.position(value) for value in tried[:FEW]]
    return Border(
        name=scope.name,
        value=scope.shown(tried[0]),
        side="lower" if end == min(ends) else "upper",
        scale=scope.scale,
        searched=tuple(sorted(ends)),
        next_range=tuple(sorted(map(scope.shown, scope.of(hp).values))),
        agreeing=sum(p <= 0.25 if side < 0 else p >= 0.75 for p in best),
        asked=len(best),
    )


def space_of(hps: list[Any]) -> Any:
    """KerasTuner's container of these hyperparameters."""
    space = extra("keras_tuner", "KerasTuner").HyperParameters()
    space.merge(hps)
    return space


def _words(ends: tuple[float, ...], scale: str) -> str:
    numbers = [f"{end:.4g}" for end in ends]
    if scale == "choice":
        return ", ".join(numbers)
    return f"{' to '.join(numbers)} ({scale})"
