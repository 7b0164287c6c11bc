"""A training history that outlives its process: stored in JSON, and continued."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_dnn._json_arrays import from_json, to_json
from keras_dnn.diagnostics.training_history import NonfiniteStep, TrainingHistory


def stored(history: TrainingHistory) -> dict[str, Any]:
    """All of it, ready for JSON."""
    return {
        field.name: _stored(getattr(history, field.name))
        for field in dataclasses.fields(history)
    }


def restored(fields: dict[str, Any]) -> TrainingHistory:
    """The history that `stored` was given, to single precision."""
    found: dict[str, Any] = {
        name: from_json(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if name != "nonfinite"
    }
    step = fields["nonfinite"]
    nonfinite = None if step is None else NonfiniteStep(**step)
    return TrainingHistory(**found, nonfinite=nonfinite)


def joined(earlier: TrainingHistory, later: TrainingHistory) -> TrainingHistory:
    """The history of both parts of a training."""
    names = [field.name for field in dataclasses.fields(earlier)]
    found = {n: _joined(getattr(earlier, n), getattr(later, n)) for n in names}
    if later.verdict == "unknown":
        found |= {"verdict": earlier.verdict, "advice": earlier.advice}
    found["nonfinite"] = earlier.nonfinite or later.nonfinite
    return TrainingHistory(**found)


def _stored(value: Any) -> Any:
    if isinstance(value, NonfiniteStep):
        return value.to_dict()
    return to_json(value) if isinstance(value, np.ndarray) else value


def _joined(earlier: Any, later: Any) -> Any:
    if not isinstance(later, np.ndarray):
        # NaN, of what is unknown, counts as true.
        return earlier if not later or later != later else later
    if not later.size:
        return earlier
    # Other layers are trained now: records of those before do not fit.
    is_continued = earlier.shape[1:] == later.shape[1:]
    return np.concatenate([earlier, later]) if is_continued else later
