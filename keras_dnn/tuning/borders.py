"""Whether the best value of a search lies at the edge of its search range."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from keras_dnn import _arguments
from keras_dnn._result import Result
from keras_dnn.tuning._optional_packages import import_optional
from keras_dnn.tuning._search_range import Range, range_of
from keras_dnn.tuning._trials import is_active, trials_of, values
from keras_dnn.tuning.dimensions import COMPLEMENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Side: TypeAlias = Literal["lower", "upper"]

BEST = 5
"""How many of the best trials are compared with the very best."""


@dataclasses.dataclass(frozen=True)
class Border(Result):
    """A hyperparameter whose best value lies at the edge of its search range.

    Attributes:
        name: name of the hyperparameter.
        value: its best value.
        side: `"lower"` or `"upper"`.
        scale: the scale on which it was searched.
        searched: the search range, lowest and highest value; of a choice, its values.
        next_range: the range to search next.
        agreeing: how many of the five best trials (or of all, if there are fewer) lie
            in the quarter of the range on that side.
        checked: how many trials that is out of.
    """

    name: str
    value: float
    side: Side
    scale: str
    searched: tuple[float, ...]
    next_range: tuple[float, ...]
    agreeing: int
    checked: int

    def __str__(self) -> str:
        return (
            f"{self.name}: the best value, {self.value:.4g}, lies at the {self.side} "
            f"edge of {_range_text(self.searched, self.scale)}; {self.agreeing} of the "
            f"best {self.checked} trials lie in the quarter at that edge. "
            f"Try {_range_text(self.next_range, self.scale)}."
        )


@dataclasses.dataclass(frozen=True)
class BorderAlarm(Result):
    """What `border_alarm` found; `print` it, `plot()` it, or test `if alarm:`.

    Attributes:
        borders: a `Border` for each hyperparameter whose best value lies at an edge.
        space: KerasTuner's `HyperParameters` to search next: those ranges moved, the
            others as they were.
        scores: the scores of the completed trials, the best first.
        values: for each hyperparameter with ordered values, under KerasTuner's name for
            it, its values in these trials; NaN where it was not active.
        objective: the name of what the scores measure.
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
        """Returns the result as plain numbers, lists and strings, ready for JSON.

        Returns:
            A dict with an entry for each attribute.
        """
        return {**super().to_dict(), "space": self.space.get_config()}

    def plot(self) -> Figure:
        """Draws the scores over each hyperparameter and marks the edges of its range.

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
    """Reports whether better values may lie beyond the ranges that were searched.

    If the best value lies at the edge of its search range, the optimum may lie outside.
    The margin of the edge is measured on the scale of the search: as a fraction of the
    decades of a log range. Of numbers with a step or from a list, the first and the
    last are always edges, however few values there are.

    At `margin=0.1`, a hyperparameter that has no effect raises an alarm in one of five
    searches, by chance: check whether the next best trials agree.

    The range to search next is as wide on its scale, with the best value in the middle.
    Counts stay at 1 or above, ranges without negative values stay so, and a range that
    began at 0 and ended at 1 or below stays within [0, 1]; at such a limit there is no
    alarm. Booleans, strings and lists of two values have no edge.

    Args:
        tuner: any tuner of KerasTuner, after `search`.
        margin: how near to the edge a value counts as at the edge, as a fraction of the
            range.

    Returns:
        The hyperparameters at an edge and the space to search next.

    Raises:
        ValueError: if no trial is completed or `margin` is not in [0, 0.5).
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
    space, trials, objective = trials_of(tuner)
    borders, hps, table = [], [], {}
    for hp in space:
        searched = range_of(hp)
        tried = values(hp, trials)
        if searched is not None and tried:
            table[hp.name] = np.array(
                [
                    trial.hyperparameters.values[hp.name]
                    if is_active(hp, trial)
                    else np.nan
                    for trial in trials
                ]
            )
            beyond = moved(searched, tried[0], margin)
            if beyond is not None:
                borders.append(_border(searched, tried, margin, beyond))
                hp = beyond  # noqa: PLW2901
        hps.append(hp)
    return BorderAlarm(
        borders=tuple(borders),
        space=space_of(hps),
        scores=np.array([trial.score for trial in trials]),
        values=table,
        objective=objective,
    )


def side_of(searched: Range, value: float, margin: float) -> int:
    """-1 or 1 if a value lies at the first or last edge of its range, else 0."""
    position = searched.position(value)
    if min(position, 1 - position) > margin + 1e-9:
        return 0
    return -1 if position < 0.5 else 1


def moved(searched: Range, value: float, margin: float) -> Any:
    """The range around a value at an edge, `None` if there is nothing beyond it."""
    side = side_of(searched, value, margin)
    if not side:
        return None
    position = searched.position(value)
    hp = searched.between(position - 0.5, position + 0.5, value)
    end = 0 if side < 0 else -1
    return None if searched.same_kind(hp).values[end] == searched.values[end] else hp


def _border(searched: Range, tried: list[Any], margin: float, hp: Any) -> Border:
    side = side_of(searched, tried[0], margin)
    ends = [searched.shown(value) for value in searched.values]
    end = ends[0 if side < 0 else -1]
    best = [searched.position(value) for value in tried[:BEST]]
    return Border(
        name=searched.name,
        value=searched.shown(tried[0]),
        side="lower" if end == min(ends) else "upper",
        scale=searched.scale,
        searched=tuple(sorted(ends)),
        next_range=tuple(sorted(map(searched.shown, searched.same_kind(hp).values))),
        agreeing=sum(p <= 0.25 if side < 0 else p >= 0.75 for p in best),
        checked=len(best),
    )


def space_of(hps: list[Any]) -> Any:
    """KerasTuner's container of these hyperparameters."""
    space = import_optional("keras_tuner", "KerasTuner").HyperParameters()
    space.merge(hps)
    return space


def _range_text(ends: tuple[float, ...], scale: str) -> str:
    numbers = [f"{end:.4g}" for end in ends]
    if scale == "choice":
        return ", ".join(numbers)
    return f"{' to '.join(numbers)} ({scale})"
