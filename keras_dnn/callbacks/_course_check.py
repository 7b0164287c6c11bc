"""Checks of how a training went, each a function of its course."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_dnn.diagnostics.check import GUIDE, Check

RULE = "A. Karpathy, CS231n: updates of about a thousandth of the weights"


def course_check(
    name: str, looks_for: str, advice: str, threshold: float | None, source: str
) -> Callable[[Any], Check]:
    """Makes a check of a function of a `Course` and of the check itself."""

    def made(find: Any) -> Check:
        see = f"{GUIDE}#{name}"
        return Check(name, looks_for, threshold, source, advice, False, see, find)

    return made
