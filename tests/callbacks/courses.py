"""A healthy course of training, and how to ask a check about it."""

import numpy as np

from keras_dnn.callbacks._doctor.checks import CHECKS
from keras_dnn.callbacks._doctor.history import Course

KERNELS = ["model/a/kernel", "model/b/kernel", "model/c/kernel"]
NONE = np.empty((0, 0))


def course(**changes):
    """A healthy one: forty steps, eight records, three kernels, four epochs."""
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
        "epochs": np.array([1.8, 1.4, 1.0, 0.6]),
        "validation": np.array([1.7, 1.4, 1.1, 0.9]),
        "evaluation": np.array([1.6, 1.2, 0.9, 0.6]),
        "noise": np.full(4, 0.05),
        "dropout": 0.3,
        "guess": 2.0,
        "verdict": "fine",
        "advice": "",
        "bad": None,
    }
    return Course(**{**values, **changes})


def found(name, **changes):
    check = CHECKS[name]
    return list(check.find(course(**changes), check))
