"""The range of one of KerasTuner's hyperparameters, on the scale of its sampling.

Positions on it run from 0, the first value, to 1, the last; those outside lie beyond.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from keras_dnn.tuning.dimensions import COMPLEMENT


def range_of(hp: Any) -> Range | None:
    """The range of a hyperparameter, `None` if its values have no order."""
    kind = type(hp).__name__
    if kind == "Choice":
        steps = [b - a for a, b in itertools.pairwise(hp.values)] if hp.ordered else []
        rising, falling = min(steps, default=0) > 0, max(steps, default=0) < 0
        # Two numbers are as often two names: 0 and 1, for instance.
        return Chosen(hp) if len(steps) > 1 and (rising or falling) else None
    if kind not in ("Float", "Int") or hp.min_value == hp.max_value:
        return None
    return Continuous(hp) if hp.step is None else Stepped(hp)


class Range:
    """Base of the ranges.

    Args:
        hp: one of KerasTuner's hyperparameters.
    """

    def __init__(self, hp: Any) -> None:
        self.hp = hp

    @property
    def name(self) -> str:
        """Of the hyperparameter itself, where KerasTuner knows its distance to 1."""
        return str(self.hp.name).removeprefix(COMPLEMENT)

    @property
    def scale(self) -> str:
        """The scale, in a word."""
        if self.hp.name != self.name:
            return "log of 1 - x"
        return str(self.hp.sampling).replace("_", " ")

    def shown(self, value: float) -> float:
        """The value of the hyperparameter itself."""
        return 1 - value if self.hp.name != self.name else value

    def position(self, value: float) -> float:
        """Where a value lies."""
        raise NotImplementedError

    @property
    def values(self) -> tuple[Any, ...]:
        """First and last value, or all of a choice."""
        return self.hp.min_value, self.hp.max_value

    def of(self, hp: Any) -> Range:
        """The same kind of range of another hyperparameter."""
        return type(self)(hp)

    def between(self, first: float, last: float, default: Any) -> Any:
        """A copy from one position to another, with this default."""
        raise NotImplementedError

    def _copy(self, **changes: Any) -> Any:
        return type(self.hp).from_config({**self.hp.get_config(), **changes})

    def _cut(self, default: Any, low: float, high: float) -> Any:
        least, most = limits(self.hp)
        low, high = max(low, least), min(high, most)
        default = min(max(default, low), high)
        return self._copy(min_value=low, max_value=high, default=default)


def limits(hp: Any) -> tuple[float, float]:
    """Between which values a hyperparameter can lie at all, as far as one can tell."""
    if hp.name.startswith(COMPLEMENT):
        return 0.0, 1.0
    low, high = hp.min_value, hp.max_value
    return natural(low, high, whole=type(hp).__name__ == "Int")


def natural(low: float, high: float, whole: bool) -> tuple[float, float]:
    """The limits of what lies between two values.

    Counts of layers or units are at least 1, what is not negative stays so, and what
    begins at 0 and ends at 1 or below is a share.
    """
    if low < 0:
        return -math.inf, math.inf
    if whole:
        return min(low, 1), math.inf
    return 0.0, 1.0 if low == 0 and high <= 1 else math.inf


class Continuous(Range):
    """Any number between two."""

    def __init__(self, hp: Any) -> None:
        super().__init__(hp)
        self._warp, self._unwarp = _warps(hp)
        self._start = self._warp(hp.min_value)
        self._span = self._warp(hp.max_value) - self._start

    def position(self, value: float) -> float:
        return float((self._warp(value) - self._start) / self._span)

    def between(self, first: float, last: float, default: Any) -> Any:
        low, high = (self._unwarp(self._start + p * self._span) for p in (first, last))
        # The ends themselves must not be lost to rounding.
        low = self.hp.min_value if first == 0 else low
        high = self.hp.max_value if last == 1 else high
        if low <= 0 and self.hp.sampling == "reverse_log":
            low = self.hp.min_value
        if type(self.hp).__name__ == "Int":
            low = max(math.floor(low * (1 + 1e-9)), 1)
            high = math.ceil(high * (1 - 1e-9))
        return self._cut(default, low, high)


class Stepped(Range):
    """Numbers with a step between them, to be added or to be multiplied by."""

    def __init__(self, hp: Any) -> None:
        super().__init__(hp)
        self.places = len(list(hp.values))

    def position(self, value: float) -> float:
        hp = self.hp
        if hp.sampling == "linear":
            place = (value - hp.min_value) / hp.step
        elif hp.sampling == "log":
            place = math.log(value / hp.min_value, hp.step)
        else:
            distance = hp.max_value + hp.min_value - value
            place = math.log(distance / hp.min_value, hp.step)
        return float(place / max(self.places - 1, 1))

    def _value(self, place: int) -> float:
        hp = self.hp
        if hp.sampling == "linear":
            return float(hp.min_value + place * hp.step)
        power = hp.min_value * float(hp.step) ** place
        if hp.sampling == "log":
            return float(power)
        return float(hp.max_value + hp.min_value - power)

    def between(self, first: float, last: float, default: Any) -> Any:
        whole = type(self.hp).__name__ == "Int"
        least, most = limits(self.hp)
        low, high = _places(first, last, self.places)
        ends = [
            value
            for value in map(self._value, range(low, high + 1))
            if least <= value <= most and not (whole and value % 1)
        ]
        if whole:
            ends = [int(value) for value in ends]
        return self._cut(default, min(ends), max(ends))


class Chosen(Range):
    """Numbers from a list, in order."""

    def __init__(self, hp: Any) -> None:
        super().__init__(hp)
        self.places = len(hp.values)

    @property
    def scale(self) -> str:
        return "choice"

    def position(self, value: float) -> float:
        return float(self.hp.values.index(value) / (self.places - 1))

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(self.hp.values)

    def between(self, first: float, last: float, default: Any) -> Any:
        values, n = list(self.hp.values), self.places
        whole = isinstance(values[0], int)
        least, most = natural(min(values), max(values), whole)
        low, high = _places(first, last, n)
        below = _continued(values[::-1], max(-low, 0))[n:][::-1]
        row = below + _continued(values, max(high - n + 1, 0))
        chosen = row[low + len(below) : high + len(below) + 1]
        if whole:
            chosen = [round(value) for value in chosen]
        kept = [v for v in dict.fromkeys(chosen) if least <= v <= most]
        return self._copy(values=kept, default=default if default in kept else kept[0])


def _places(first: float, last: float, places: int) -> tuple[int, int]:
    # Outwards; 1e-9 is for what rounding adds to a whole place.
    low, high = first * (places - 1), last * (places - 1)
    return math.floor(low + 1e-9), math.ceil(high - 1e-9)


def _continued(values: list[Any], more: int) -> list[Any]:
    """Values with some more at the end, in equal steps or else in equal ratios."""
    steps = [b - a for a, b in itertools.pairwise(values)]
    equal = max(steps) - min(steps) <= 1e-6 * max(map(abs, steps))
    found = list(values)
    for _ in range(more):
        if equal or min(values) <= 0:
            found.append(found[-1] + steps[-1])
        else:
            found.append(found[-1] * (values[-1] / values[-2]))
    return found


Warp = Callable[[float], float]


def _warps(hp: Any) -> tuple[Warp, Warp]:
    """The map to the scale on which KerasTuner samples evenly, and back."""
    if hp.sampling == "log":
        return math.log, math.exp
    if hp.sampling == "reverse_log":
        total = hp.max_value + hp.min_value
        return lambda x: -math.log(total - x), lambda t: total - math.exp(-t)
    return float, float
