"""What the doctor draws."""

from __future__ import annotations

import numpy as np

from keras_dnn.callbacks._doctor.history import Course
from keras_dnn.diagnostics.report import Chart

POINTS = 500
"""How many points of a curve are drawn."""


def charts(course: Course) -> tuple[Chart, ...]:
    """Loss, gradients and updates by step, and the units of the worst layer by look."""
    every = -(-len(course.losses) // POINTS)
    places = np.arange(len(course.losses))[::every]
    found = [Chart("Loss", places, "step", {"loss": course.losses[::every]})]
    if len(course.steps):
        thin = slice(None, None, -(-len(course.steps) // POINTS))
        x = course.steps[thin]
        found += [
            Chart("Gradients", x, "step", {"norm": course.global_norms[thin]}, True),
            Chart(
                "Update to weight",
                x,
                "step",
                {"ratio": course.global_ratios[thin]},
                True,
                (1e-4, 1e-2),
            ),
        ]
    if course.dead.size:
        looks = np.arange(len(course.dead))
        worst = {
            "dead": course.dead.max(axis=1),
            "saturated": np.nan_to_num(course.saturated).max(axis=1),
        }
        found.append(Chart("Units of the worst layer", looks, "look", worst))
    return tuple(found)
