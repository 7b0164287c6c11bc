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
    curves = {"loss": history.losses[thin]}
    if np.isfinite(history.guess_loss):
        curves["best constant answer"] = np.full(len(steps), history.guess_loss)
    found = [Chart("Loss", steps, "step", curves)]
    if np.isfinite(history.validation_losses).any():
        found.append(_by_epoch(history))
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


def _by_epoch(history: TrainingHistory) -> Chart:
    """Losses of training and validation, beside those of a constant answer."""
    epochs = np.arange(1, len(history.epoch_losses) + 1)
    curves = {
        "training": history.epoch_losses,
        "training without dropout": history.evaluation_losses,
        "validation": history.validation_losses,
        "best constant answer": np.full(len(epochs), history.validation_guess_loss),
    }
    known = {n: curve for n, curve in curves.items() if np.isfinite(curve).any()}
    return Chart("Loss by epoch", epochs, "epoch", known)


def _thinned(count: int) -> slice:
    return slice(None, None, -(-count // POINTS))
