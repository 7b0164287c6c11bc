"""Checks of how a training went, each a function of its course."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_dnn.diagnostics.check import GUIDE, Check

RULE = "A. Karpathy, CS231n: updates of about a thousandth of the weights"

SETTLED = 50
"""Steps after which what is seen is no matter of the start any more.

With batch norm in each layer the gradient grows by a fifth or so from layer to layer on
its way down (G. Yang et al., "A Mean Field Theory of Batch Normalization", 2019). That
of ResNet50 has a norm of 4,800 to begin with. Adam has brought it under 1,000 after 20
steps and to 100 after 40. Where it does harm it stays: fifty layers without skip
connections have 40,000 after 120 steps and learn nothing. The loss of ResNet50 may rise
fourfold in the first ten steps, and has fallen below where it began after twenty.
"""


def course_check(
    name: str, looks_for: str, advice: str, threshold: float | None, source: str
) -> Callable[[Any], Check]:
    """Makes a check of a function of a `Course` and of the check itself."""

    def made(find: Any) -> Check:
        see = f"{GUIDE}#{name}"
        return Check(name, looks_for, threshold, source, advice, False, see, find)

    return made
