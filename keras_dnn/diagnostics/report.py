"""What checks found, to be read, plotted, stored or asserted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_dnn import _arguments, _files
from keras_dnn._result import Result
from keras_dnn.diagnostics import _html
from keras_dnn.diagnostics.finding import SEVERITIES, Finding, Severity, in_one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Chart(Result):
    """Curves that belong in one plot.

    Attributes:
        title: what they show.
        x: positions on the horizontal axis: numbers, or names of layers.
        xlabel: what `x` is.
        curves: arrays as long as `x`, by name.
        log: whether the vertical axis is logarithmic.
        healthy: the healthy range, shaded; `None` if there is none.
    """

    title: str
    x: tuple[str, ...] | np.ndarray
    xlabel: str
    curves: dict[str, np.ndarray]
    log: bool = False
    healthy: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Report(Result):
    """Findings, the worst first, and within one severity causes before their effects.

    Attributes:
        title: what was examined.
        findings: tuple of `Finding`.
        checked: names of the checks that were made.
        charts: tuple of `Chart`, what `plot` draws.
        passed: tuple of `Finding`: warnings and errors that a `Doctor` gave in earlier
            epochs, and for which there is no reason any more.

    Example:
        >>> from keras_dnn.diagnostics import Report
        >>> report = Report("a network", findings=(), checked=("vanishing",))
        >>> print(report)
        a network: nothing found in 1 check
        >>> report.assert_healthy()
    """

    title: str
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    charts: tuple[Chart, ...] = ()
    passed: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        past = map(in_one_line, self.passed)
        return "\n\n".join([self.summary, *map(str, self.findings), *past])

    @property
    def summary(self) -> str:
        """How many findings of each severity there are, on one line.

        That nothing was found says nothing of what was not checked.
        """
        counts = [
            f"{count} {severity}{'s' if count > 1 else ''}"
            for severity in SEVERITIES
            if (count := sum(f.severity == severity for f in self.findings))
        ]
        checks = f"{len(self.checked)} check{'s' if len(self.checked) != 1 else ''}"
        if counts:
            return f"{self.title}: {', '.join(counts)} ({checks})"
        found = f"nothing found in {checks}" if self.checked else "nothing was checked"
        return f"{self.title}: {found}"

    def print(self) -> None:
        """Prints the report."""
        print(self)  # noqa: T201

    def named(self, name: str) -> list[Finding]:
        """Gives the findings of one check.

        Args:
            name: of the check.

        Returns:
            The findings, empty if it found nothing.
        """
        return [finding for finding in self.findings if finding.name == name]

    def assert_healthy(self, severity: Severity = "warning") -> None:
        """Raises an error if there is a finding of this severity or a worse one.

        Also if nothing was checked, as by a `Doctor` that has seen no step.

        Args:
            severity: `"error"`, `"warning"` or `"note"`.

        Raises:
            AssertionError: if there is one, its text is the findings; or if nothing was
                checked.
            ValueError: if `severity` is none of these.
        """
        _arguments.choice("severity", severity, SEVERITIES)
        bad = SEVERITIES[: SEVERITIES.index(severity) + 1]
        found = tuple(f for f in self.findings if f.severity in bad)
        if found or not self.checked:
            raise AssertionError(str(dataclasses.replace(self, findings=found)))

    def plot(self) -> Figure:
        """Draws what was measured.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if nothing was measured.
        """
        if not self.charts:
            raise ValueError("There is nothing to plot: no chart was recorded.")
        from keras_dnn import plotting

        return plotting.charts(
            [(c.title, c.x, c.xlabel, c.curves, c.log, c.healthy) for c in self.charts]
        )

    def to_html(self, path: str | Path) -> Path:
        """Writes the report as one HTML page that needs no other file.

        It has plots if matplotlib is installed. The page is written whole or not at
        all.

        Args:
            path: where to write it.

        Returns:
            The path.

        Raises:
            FileNotFoundError: if the folder does not exist.
        """
        path = Path(path)
        _files.write(path, _html.page(self, _html.plot_of(self)))
        return path


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """By severity, and within one severity in the order given."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))
