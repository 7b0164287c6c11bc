"""One thing that is wrong with a model, or may be."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeAlias

import numpy as np

from keras_dnn._result import Result
from keras_dnn.diagnostics._explanations import command, explanations

Severity: TypeAlias = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""


@dataclasses.dataclass(frozen=True)
class Finding(Result):
    """What a check found.

    Attributes:
        name: of the check, such as `"vanishing"`.
        severity: `"error"` (training cannot work), `"warning"` (training will suffer)
            or `"note"` (worth knowing).
        layer: path of the layer where it shows, `None` if it concerns the whole model.
        message: one sentence that says what was measured.
        evidence: the numbers behind it, by name.
        advice: what to do about it.
        see: where it is explained; may be empty. For the checks of this package it is a
            command that prints what `explain` returns.
        epoch: the epoch, counted from 1, in which a `Doctor` first found it; `None` if
            no epoch has ended since, or before training.
        last_epoch: the last epoch in which it found it, if it has passed.
    """

    name: str
    severity: Severity
    layer: str | None
    message: str
    evidence: dict[str, Any]
    advice: str
    see: str
    epoch: int | None = None
    last_epoch: int | None = None

    def explain(self) -> str:
        """Explains the check: what it looks for, how it decides, and what helps.

        Returns:
            The section of the documentation on this check, which is installed with the
            package; the text of `see` for a check of your own.
        """
        built_in = self.see == command(self.name)
        return explanations().get(self.name, self.see) if built_in else self.see

    def __str__(self) -> str:
        place = f" in {self.layer}" if self.layer else ""
        lines = [
            f"{self.severity}: {self.name}{place}{when(self)}",
            f"  {self.message}",
        ]
        if self.evidence:
            lines.append(f"  {evidence(self)}")
        see = [f"  See {self.see}"] if self.see else []
        return "\n".join([*lines, f"  {self.advice}", *see])


def in_one_line(finding: Finding) -> str:
    """The name of a finding that has passed, the layer and the epochs."""
    place = f" in {finding.layer}" if finding.layer else ""
    return f"passed: {finding.name}{place}{when(finding)}"


def when(finding: Finding) -> str:
    """The epochs in which a `Doctor` found it; empty if unknown."""
    if finding.epoch is None:
        return ""
    if finding.last_epoch is None:
        return f", since epoch {finding.epoch}"
    if finding.last_epoch == finding.epoch:
        return f", epoch {finding.epoch} only"
    return f", epochs {finding.epoch} to {finding.last_epoch}"


def evidence(finding: Finding) -> str:
    """The numbers of a finding on one line."""
    return ", ".join(f"{n} = {_short(v)}" for n, v in finding.evidence.items())


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray | list | tuple):
        shown = ", ".join(_short(entry) for entry in value[:6])
        return f"[{shown}{', ...' if len(value) > 6 else ''}]"
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
