"""The completed trials of a KerasTuner search."""

from __future__ import annotations

from typing import Any, NamedTuple


class Trials(NamedTuple):
    """The space of a search, its completed trials, best first, and the objective."""

    space: list[Any]
    completed: list[Any]
    objective: str


def trials_of(tuner: Any) -> Trials:
    """Reads a tuner of KerasTuner.

    Args:
        tuner: the tuner, or its oracle.

    Raises:
        ValueError: if it is no tuner or no trial is completed.
    """
    oracle = getattr(tuner, "oracle", tuner)
    if not hasattr(oracle, "get_best_trials"):
        raise ValueError(
            f"tuner must be a tuner of KerasTuner. Received: tuner={tuner!r}"
        )
    completed = [
        trial
        for trial in oracle.get_best_trials(max(len(oracle.trials), 1))
        if trial.status == "COMPLETED"
    ]
    if not completed:
        raise ValueError(
            "tuner must have completed a trial: call its search first. "
            f"Received: tuner={tuner!r}"
        )
    # The scores of several objectives are their sum.
    objective = getattr(oracle.objective, "name", "score")
    return Trials(oracle.get_space().space, completed, objective)


def values(hp: Any, trials: list[Any]) -> list[Any]:
    """The values of a hyperparameter in the trials in which it was active."""
    return [
        trial.hyperparameters.values[hp.name]
        for trial in trials
        if is_active(hp, trial)
    ]


def is_active(hp: Any, trial: Any) -> bool:
    """Whether a hyperparameter was active in a trial."""
    chosen = trial.hyperparameters
    if hp.name not in chosen.values or not chosen.is_active(hp):
        return False
    # A resumed search may have had another list before.
    return type(hp).__name__ != "Choice" or chosen.values[hp.name] in hp.values
