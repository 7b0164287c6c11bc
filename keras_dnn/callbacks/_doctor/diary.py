"""What a doctor has found so far, and in which epochs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras_dnn.diagnostics.finding import Finding


class Diary:
    """The findings of each epoch, by name; notes are not kept once they have passed.

    Args:
        stored: what `to_json` of an earlier process returned.
    """

    def __init__(self, stored: Iterable[dict[str, Any]] = ()) -> None:
        self._seen = {entry["name"]: Finding(**entry) for entry in stored}

    def enter(self, findings: Iterable[Finding], epoch: int) -> list[Finding]:
        """Records the findings of an epoch; returns those that are new."""
        new = []
        for finding in findings:
            earlier = self._seen.get(finding.name)
            if finding.severity == "note":
                if earlier is not None:
                    still = dataclasses.replace(earlier, last_epoch=epoch)
                    self._seen[finding.name] = still
                continue
            if earlier is None:
                new.append(finding)
            first = epoch if earlier is None else earlier.epoch
            self._seen[finding.name] = dataclasses.replace(
                finding, epoch=first, last_epoch=epoch
            )
        return new

    def dated(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings with the epoch in which each was first made."""
        return [
            dataclasses.replace(finding, epoch=self._seen[finding.name].epoch)
            if finding.name in self._seen
            else finding
            for finding in findings
        ]

    def passed(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """What was found in earlier epochs and is not among the findings any more."""
        names = {finding.name for finding in findings}
        return tuple(f for name, f in self._seen.items() if name not in names)

    def to_json(self) -> list[dict[str, Any]]:
        """All of it, ready for JSON."""
        return [finding.to_dict() for finding in self._seen.values()]
