"""What a search of KerasTuner has found so far."""

from __future__ import annotations

from typing import Any, NamedTuple


class Found(NamedTuple):
    """The space of a search, and its trials that ended well, the best first."""

    space: list[Any]
    trials: list[Any]
    objective: str


def found(tuner: Any) -> Found:
    """Reads a tuner of KerasTuner.

    Args:
        tuner: the tuner, or its oracle.

    Raises:
        ValueError: if it is none, or no trial has ended well.
    """
    oracle = getattr(tuner, "oracle", tuner)
    if not hasattr(oracle, "get_best_trials"):
        raise ValueError(f"tuner must be one of KerasTuner. Received: tuner={tuner!r}")
    trials = [
        trial
        for trial in oracle.get_best_trials(max(len(oracle.trials), 1))
        if trial.status == "COMPLETED"
    ]
    if not trials:
        raise ValueError(
            "tuner must have completed a trial: call its search first. "
            f"Received: tuner={tuner!r}"
        )
    # The scores of several objectives are their sum.
    objective = getattr(oracle.objective, "name", "score")
    return Found(oracle.get_space().space, trials, objective)


def values(hp: Any, trials: list[Any]) -> list[Any]:
    """The values of one hyperparameter, in the trials in which it was active."""
    return [trial.hyperparameters.values[hp.name] for trial in trials if has(hp, trial)]


def has(hp: Any, trial: Any) -> bool:
    """Whether a hyperparameter was active in a trial."""
    chosen = trial.hyperparameters
    if hp.name not in chosen.values or not chosen.is_active(hp):
        return False
    # A search that was gone on with may have had another list.
    return type(hp).__name__ != "Choice" or chosen.values[hp.name] in hp.values
