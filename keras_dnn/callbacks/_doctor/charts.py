"""What the doctor draws."""

from __future__ import annotations

import numpy as np

from keras_dnn.diagnostics.report import Chart
from keras_dnn.diagnostics.training_history import TrainingHistory

POINTS = 500
"""The most points of a curve that are drawn."""

HEALTHY_RATIOS = (1e-4, 1e-2)
"""Updates of a thousandth of the weights, ten times more or less."""


def charts(history: TrainingHistory) -> tuple[Chart, ...]:
    """Loss, gradients and updates by step; the units of the worst layer by epoch."""
    thin = _thinned(len(history.losses))
    steps = np.arange(len(history.losses))[thin]
    found = [Chart("Loss", steps, "step", {"loss": history.losses[thin]})]
    if len(history.steps):
        thin = _thinned(len(history.steps))
        steps = history.steps[thin]
        norms = {"norm": history.global_norms[thin]}
        ratios = {"ratio": history.global_ratios[thin]}
        found += [
            Chart("Gradient norm", steps, "step", norms, log=True),
            Chart("Update to weight", steps, "step", ratios, True, HEALTHY_RATIOS),
        ]
    if history.dead.size:
        worst = {
            "dead": history.dead.max(axis=1),
            "saturated": np.nan_to_num(history.saturated).max(axis=1),
        }
        checks = np.arange(len(history.dead))
        found.append(Chart("Units of the worst layer", checks, "check (epoch)", worst))
    return tuple(found)


def _thinned(count: int) -> slice:
    return slice(None, None, -(-count // POINTS))
