"""A check: a small function that looks for one problem, and its description."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

from keras_dnn._result import Result
from keras_dnn.diagnostics._explanations import command
from keras_dnn.diagnostics.finding import Finding, Severity

When: TypeAlias = Literal["before", "during"]
"""Before training, on an `Examination`, or during it, on a `TrainingHistory`."""

Find: TypeAlias = Callable[[Any, "Check"], Iterator[Finding]]
"""Takes what is examined, which depends on `When`, and the check; yields findings."""

Needs: TypeAlias = Callable[[Any], Any]
"""Takes what is examined; says whether a check can be made on it."""


@dataclasses.dataclass(frozen=True)
class Check(Result):
    """Looks for one problem.

    Attributes:
        name: of the problem, `"in-small-letters"`.
        looks_for: what it looks for, in a few words.
        advice: what to do about it.
        find: function of what is examined and of the check, which yields findings.
        when: `"before"` training, when it examines an `Examination`, or `"during"` it,
            when it examines a `TrainingHistory`.
        threshold: the number at which the problem begins; NaN for a check that needs
            none.
        source: where the threshold comes from.
        blocking: whether `preflight` stops after an error from this check, because
            later checks would mean nothing.
        see: where it is explained; may be empty.
        needs: function of what is examined that says whether it holds what the check
            looks at; `None` for a check that can always be made.
    """

    name: str
    looks_for: str
    advice: str
    find: Find
    when: When = "before"
    threshold: float = math.nan
    source: str = ""
    blocking: bool = False
    see: str = ""
    needs: Needs | None = None

    def has_data(self, examined: Any) -> bool:
        """Whether there is what the check looks at.

        Args:
            examined: an `Examination` or a `TrainingHistory`, depending on `when`.

        Returns:
            Whether the check can be made. If not, that it finds nothing says nothing.
        """
        return self.needs is None or bool(self.needs(examined))

    def findings(self, examined: Any) -> list[Finding]:
        """Runs the check.

        Args:
            examined: an `Examination` or a `TrainingHistory`, depending on `when`.

        Returns:
            What it found, a list of `Finding`.
        """
        return list(self.find(examined, self))

    def finding(
        self,
        severity: Severity,
        message: str,
        layer: str | None = None,
        advice: str | None = None,
        **evidence: Any,
    ) -> Finding:
        """Makes a finding of this check.

        Args:
            severity: `"error"`, `"warning"` or `"note"`.
            message: one sentence that says what was measured.
            layer: path of the layer.
            advice: replaces the advice of the check.
            **evidence: the numbers.

        Returns:
            A `Finding`.
        """
        return Finding(
            self.name,
            severity,
            layer,
            message,
            evidence,
            advice or self.advice,
            self.see,
        )


def built_in(
    name: str,
    *,
    when: When,
    looks_for: str,
    advice: str,
    threshold: float = math.nan,
    source: str = "",
    blocking: bool = False,
    needs: Needs | None = None,
) -> Callable[[Find], Check]:
    """Makes a check of a function; `checks.md` explains it under a heading of its name.

    For the checks of this package; `register_check` is for those of users.
    """

    def made(find: Find) -> Check:
        return Check(
            name,
            looks_for,
            advice,
            find,
            when,
            threshold,
            source,
            blocking,
            see=command(name),
            needs=needs,
        )

    return made
