"""A healthy training history, and how to run a check on a changed one."""

import numpy as np

from keras_dnn.diagnostics import TrainingHistory, registered_checks

CHECKS = {check.name: check for check in registered_checks("during")}
KERNELS = ["model/a/kernel", "model/b/kernel", "model/c/kernel"]
NO_ROWS = np.empty((0, 0))


def history(**changes):
    """Forty steps, eight records of three kernels, four epochs; all is well."""
    values = {
        "losses": np.linspace(2.0, 0.5, 40),
        "steps": np.arange(0, 40, 5),
        "norms": np.ones((8, 3)),
        "kernels": KERNELS,
        "global_norms": np.full(8, 3.0),
        "ratios": np.full((8, 3), 1e-3),
        "global_ratios": np.full(8, 1e-3),
        "layers": ["model/a", "model/b", "model/c"],
        "dead": np.zeros((5, 3)),
        "saturated": np.full((5, 3), np.nan),
        "epoch_losses": np.array([1.8, 1.4, 1.0, 0.6]),
        "validation_losses": np.array([1.7, 1.4, 1.1, 0.9]),
        "evaluation_losses": np.array([1.6, 1.2, 0.9, 0.6]),
        "regularisation_gaps": np.full(4, 0.05),
        "dropout_rate": 0.3,
        "guess_loss": 2.0,
        "validation_guess_loss": 2.0,
        "uniform_loss": 2.0,
        "penalties": np.zeros(4),
        "verdict": "fine",
        "advice": "",
        "nonfinite": None,
    }
    return TrainingHistory(**{**values, **changes})


def found(name, **changes):
    return CHECKS[name].findings(history(**changes))
