"""From a coarse search to a finer one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from keras_dnn import _arguments
from keras_dnn.tuning._optional_packages import import_optional
from keras_dnn.tuning._search_range import Range, range_of
from keras_dnn.tuning._trials import trials_of, values
from keras_dnn.tuning.borders import moved, space_of

MARGIN = 0.1
"""The default of `border_alarm`."""


def narrow(tuner: Any, factor: float = 3.0, *, best: int = 5) -> Any:
    r"""Returns a narrower space around the best trials of a search.

    Each range becomes `factor` times narrower on the scale on which it was searched: at
    `factor=3`, three decades of a learning rate become one. The new range is centred on
    the median of the best few trials, shifted where necessary so that it contains the
    best trial and stays within the old range. Numbers with a step or from a list keep
    at least the neighbours of the centre. Strings and booleans keep the values that
    occur in the best few trials.

    A best value at the edge of its range causes a warning: a narrower range is then the
    wrong answer, and `border_alarm` gives the right one.

    Args:
        tuner: any tuner of KerasTuner, after `search`.
        factor: how many times narrower, above 1.
        best: how many of the best trials to use.

    Returns:
        KerasTuner's `HyperParameters`, for the `hyperparameters` of the next tuner. The
        function that builds the model stays as it is: these ranges override its own.

    Raises:
        ValueError: if no trial is completed, `factor` is not above 1 or `best` is not
            a positive integer.
        ImportError: if KerasTuner is not installed.

    Example:
        >>> import tempfile
        >>> import keras_tuner
        >>> from keras_dnn.tuning import log_uniform, narrow
        >>> class Search(keras_tuner.RandomSearch):
        ...     def run_trial(self, trial, **options):
        ...         rate = log_uniform("rate", 1e-4, 1e-1)(trial.hyperparameters)
        ...         return (rate - 0.003) ** 2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     search = Search(max_trials=20, seed=1, directory=folder)
        ...     search.search(verbose=0)
        >>> rate = narrow(search, factor=3).space[0]
        >>> round(rate.max_value / rate.min_value, 6)  # One decade of three.
        10.0
        >>> rate.min_value < 0.003 < rate.max_value
        True
    """
    factor = _arguments.number("factor", factor, 1.0, bounds="()")
    best = _arguments.count("best", best)
    space, trials, _ = trials_of(tuner)
    hps, at_edge = [], []
    for hp in space:
        searched, tried = range_of(hp), values(hp, trials)
        if searched is None:
            hps.append(_only_tried(hp, values(hp, trials[:best])))
        elif tried:
            hps.append(_around(searched, tried[:best], factor))
            if moved(searched, tried[0], MARGIN) is not None:
                at_edge.append(searched.name)
        else:
            hps.append(hp)
    if at_edge:
        warnings.warn(
            f"The best value of {' and of '.join(at_edge)} lies at the edge of its "
            "search range, and better ones may lie beyond: see border_alarm(tuner).",
            stacklevel=2,
        )
    return space_of(hps)


def _around(searched: Range, tried: list[Any], factor: float) -> Any:
    """The range around the median of the values that contains the first of them."""
    positions = [searched.position(value) for value in tried]
    half = 0.5 / factor
    middle = float(
        np.clip(np.median(positions), positions[0] - half, positions[0] + half)
    )
    middle = min(max(middle, half), 1 - half)
    return searched.between(middle - half, middle + half, tried[0])


def _only_tried(hp: Any, tried: list[Any]) -> Any:
    """A hyperparameter without order, reduced to the values that were tried."""
    kind = type(hp).__name__
    if kind == "Choice" and tried:
        values = [value for value in hp.values if value in tried]
        return type(hp).from_config(
            {**hp.get_config(), "values": values, "default": tried[0]}
        )
    if kind == "Boolean" and len(set(tried)) == 1:
        kinds = import_optional("keras_tuner.engine.hyperparameters", "KerasTuner")
        config = hp.get_config()
        return kinds.Fixed.from_config(
            {
                "name": hp.name,
                "value": tried[0],
                "conditions": config["conditions"],
            }
        )
    return hp
