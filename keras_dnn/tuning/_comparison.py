"""What the comparisons of two models have in common."""

from __future__ import annotations

import dataclasses
import math
import warnings

from keras_dnn import _arguments
from keras_dnn._result import Result


@dataclasses.dataclass(frozen=True)
class Comparison(Result):
    """The result of a comparison; `print` it."""

    names: tuple[str, str]
    difference: float
    interval: tuple[float, float]
    effect_size: float
    p_value: float
    confidence: float
    informative: int
    conclusion: str
    caution: str
    warning: str

    def __str__(self) -> str:
        low, high = self.interval
        numbers = (
            f"{self.names[0]} - {self.names[1]}: {self.difference:+.4g} "
            f"[{low:+.4g}, {high:+.4g}], effect size {self.effect_size:+.2f}, "
            f"p = {self.p_value:.3g}"
        )
        lines = [numbers, self.conclusion, self.caution, self.warning]
        return "\n".join(filter(None, lines))


def names_of(names: tuple[str, str]) -> tuple[str, str]:
    """Returns the names of the two models, which must differ."""
    found = tuple(map(str, _arguments.several("names", names)))
    if len(found) != 2 or found[0] == found[1]:
        raise ValueError(
            f"names must be two different names. Received: names={names!r}"
        )
    return found[0], found[1]


def conclude(
    names: tuple[str, str],
    what: str,
    difference: float,
    interval: tuple[float, float],
    p_value: float,
    confidence: float,
) -> str:
    """The conclusion that the test permits, in a sentence."""
    a, b = names
    low, high = interval
    if p_value > 1 - confidence:
        within = f" between {low:+.3g} and {high:+.3g}" * math.isfinite(high - low)
        return (
            f"No difference in {what} is shown, and no equality either: any "
            f"difference{within or ' at all'} is compatible with the data."
        )
    more = "higher" if difference > 0 else "lower"
    return (
        f"The {what} of {a} is {more} than that of {b}: if they were equal, chance "
        f"alone would separate them as far in {p_value:.2g} of such experiments."
    )


def warn_of_few(informative: int, confidence: float, what: str) -> str:
    """Warns if no outcome could have shown a difference."""
    smallest = min(1.0, 2.0 ** (1 - informative))
    if smallest <= 1 - confidence:
        return ""
    needed = 1
    while 2.0 ** (1 - needed) > 1 - confidence:
        needed += 1
    warning = (
        f"Too few: with {informative} {what} no p-value below {smallest:.2g} is "
        f"possible; at least {needed} are needed for {1 - confidence:.2g}."
    )
    warnings.warn(warning, stacklevel=3)
    return warning
