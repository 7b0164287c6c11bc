"""Compares the slopes of a loss along lines, on kinks at points nearby."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from keras_dnn.diagnostics._gradients.central_differences import (
    SHRINKS,
    Line,
    LossOfWeights,
    Slope,
    slope_of,
)
from keras_dnn.diagnostics._nonfinite import all_finite, bad_weights, failing

POINTS = 5
"""How many points nearby are tried: a right gradient is right at nearly all points."""

ENOUGH = 3
"""So many lines of one variable that disagree at a point stand for the others."""

SILENT = 1e3
"""A gradient smaller than this many times the noise shows no error of 1%."""


def drawn(rng: np.random.Generator, gradient: np.ndarray, count: int) -> np.ndarray:
    """Entries of a variable, half of them where the gradient is not zero.

    Of an embedding most rows are in no example.
    """
    if gradient.size <= count:
        return np.arange(gradient.size)
    used = np.flatnonzero(gradient)
    first = rng.choice(used, min((count + 1) // 2, used.size), replace=False)
    others = np.delete(np.arange(gradient.size), first)
    rest = rng.choice(others, count - first.size, replace=False)
    return np.sort(np.concatenate([first, rest]))


def lines_of(
    rng: np.random.Generator, chosen: list[np.ndarray], gradients: list[np.ndarray]
) -> list[Line]:
    """A line for each chosen entry, and one of all entries where not all are chosen."""
    lines = []
    for variable, (entries, gradient) in enumerate(zip(chosen, gradients, strict=True)):
        lines += [Line(variable, int(entry)) for entry in entries]
        if len(entries) < gradient.size:
            signs = rng.choice([-1.0, 1.0], gradient.size)
            lines.append(Line(variable, signs=signs))
    return lines


def compared(
    loss: LossOfWeights,
    lines: list[Line],
    gradients: list[np.ndarray],
    rng: np.random.Generator,
    tolerance: float,
    after: Callable[[Slope], Slope],
) -> tuple[list[Slope], list[bool]]:
    """The slopes along the lines, and which of them lie on a kink.

    Where the two slopes disagree, and where both are too small to compare, they are
    compared at points nearby: the code of a gradient is the same there, and the loss
    has a derivative.
    """
    noise = loss.noise(rng)
    slopes = []
    wrong: Counter[int] = Counter()
    for line in lines:
        automatic = line.slope(gradients)
        shrinks = SHRINKS if wrong[line.variable] < ENOUGH else SHRINKS[:1]
        slope = slope_of(loss, line, automatic, noise, tolerance, shrinks)
        wrong[line.variable] += not slope.agrees
        slopes.append(after(slope))
    kinks = [False] * len(lines)
    if not all(np.isfinite(gradient).all() for gradient in gradients):
        return slopes, kinks
    disagree = {i for i, slope in enumerate(slopes) if not slope.agrees}
    left = disagree | _silent(lines, slopes)
    for _ in range(POINTS):
        if not left:
            break
        with loss.nearby(rng):
            found = _at(loss, lines, sorted(left), rng, tolerance)
        for i, slope in found.items():
            if slope.agrees:
                slopes[i], kinks[i] = slope, i in disagree
                left.remove(i)
            elif i not in disagree:
                slopes[i] = slope
    return slopes, kinks


def _at(
    loss: LossOfWeights,
    lines: list[Line],
    left: list[int],
    rng: np.random.Generator,
    tolerance: float,
) -> dict[int, Slope]:
    """Slopes at the weights as they are, along those lines that are left."""
    gradients = loss.gradients()
    noise = loss.noise(rng)
    found: dict[int, Slope] = {}
    wrong: Counter[int] = Counter()
    for i in left:
        line = lines[i]
        if wrong[line.variable] >= ENOUGH:
            continue
        found[i] = slope_of(loss, line, line.slope(gradients), noise, tolerance)
        wrong[line.variable] += not found[i].agrees
    return found


def _silent(lines: list[Line], slopes: list[Slope]) -> set[int]:
    """The lines of variables whose slopes are all as small as rounding errors."""
    loud = {
        line.variable
        for line, slope in zip(lines, slopes, strict=True)
        if abs(slope.automatic) + abs(slope.numeric) > SILENT * slope.noise
    }
    return {i for i, line in enumerate(lines) if line.variable not in loud}


def not_finite(loss: LossOfWeights, here: float, gradients: list[np.ndarray]) -> str:
    """Where values that are not finite begin; empty if there are none."""
    variables = loss.model.trainable_variables
    bad = [
        variable.path
        for variable, gradient in zip(variables, gradients, strict=True)
        if not np.isfinite(gradient).all()
    ]
    if np.isfinite(here) and not bad:
        return ""
    x, y, _ = loss.batch
    for name, part in (("x", x), ("y", y)):
        if part is not None and not all_finite(part):
            return f"{name} contains NaN or infinite values"
    loss.fix()
    cause = bad_weights(loss.model) or failing(loss.model, x, loss.training)
    if cause is not None:
        return str(cause)
    return f"the gradient of {bad[0]} is not finite" if bad else f"the loss is {here}"
