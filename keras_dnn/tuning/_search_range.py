"""The search range of a KerasTuner hyperparameter, on the scale of its sampling.

The first value has position 0, the last position 1; positions outside [0, 1] lie beyond
the range.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from keras_dnn.tuning.dimensions import COMPLEMENT


def range_of(hp: Any) -> Range | None:
    """The search range of a hyperparameter, `None` if its values have no order."""
    kind = type(hp).__name__
    if kind == "Choice":
        steps = [b - a for a, b in itertools.pairwise(hp.values)] if hp.ordered else []
        rising, falling = min(steps, default=0) > 0, max(steps, default=0) < 0
        # Two numbers are often names rather than quantities: 0 and 1, for instance.
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
        """The name of the hyperparameter, also where KerasTuner has 1 minus it."""
        return str(self.hp.name).removeprefix(COMPLEMENT)

    @property
    def scale(self) -> str:
        """The scale, in words."""
        if self.hp.name != self.name:
            return "log of 1 - x"
        return str(self.hp.sampling).replace("_", " ")

    def shown(self, value: float) -> float:
        """The value of the hyperparameter, also where KerasTuner has 1 minus it."""
        return 1 - value if self.hp.name != self.name else value

    def position(self, value: float) -> float:
        """The position of a value."""
        raise NotImplementedError

    @property
    def values(self) -> tuple[Any, ...]:
        """The first and the last value, or all values of a choice."""
        return self.hp.min_value, self.hp.max_value

    def same_kind(self, hp: Any) -> Range:
        """A range of this kind for another hyperparameter."""
        return type(self)(hp)

    def between(self, first: float, last: float, default: Any) -> Any:
        """A copy of the hyperparameter that ranges from one position to another."""
        raise NotImplementedError

    def _copy(self, **changes: Any) -> Any:
        return type(self.hp).from_config({**self.hp.get_config(), **changes})

    def _limited(self, default: Any, low: float, high: float) -> Any:
        least, most = limits(self.hp)
        low, high = max(low, least), min(high, most)
        default = min(max(default, low), high)
        return self._copy(min_value=low, max_value=high, default=default)


def limits(hp: Any) -> tuple[float, float]:
    """The lowest and highest possible value, as far as they can be inferred."""
    if hp.name.startswith(COMPLEMENT):
        return 0.0, 1.0
    low, high = hp.min_value, hp.max_value
    return inferred_limits(low, high, whole=type(hp).__name__ == "Int")


def inferred_limits(low: float, high: float, whole: bool) -> tuple[float, float]:
    """The limits that the ends of a range suggest.

    Counts of layers or units are at least 1, a range without negative values stays so,
    and one that begins at 0 and ends at 1 or below is a fraction.
    """
    if low < 0:
        return -math.inf, math.inf
    if whole:
        return min(low, 1), math.inf
    return 0.0, 1.0 if low == 0 and high <= 1 else math.inf


class Continuous(Range):
    """All numbers of an interval."""

    def __init__(self, hp: Any) -> None:
        super().__init__(hp)
        self._to_scale, self._from_scale = _scales(hp)
        self._start = self._to_scale(hp.min_value)
        self._span = self._to_scale(hp.max_value) - self._start

    def position(self, value: float) -> float:
        return float((self._to_scale(value) - self._start) / self._span)

    def between(self, first: float, last: float, default: Any) -> Any:
        low, high = (
            self._from_scale(self._start + p * self._span) for p in (first, last)
        )
        # Rounding must not move the ends themselves.
        low = self.hp.min_value if first == 0 else low
        high = self.hp.max_value if last == 1 else high
        if low <= 0 and self.hp.sampling == "reverse_log":
            low = self.hp.min_value
        if type(self.hp).__name__ == "Int":
            low = max(math.floor(low * (1 + 1e-9)), 1)
            high = math.ceil(high * (1 - 1e-9))
        return self._limited(default, low, high)


class Stepped(Range):
    """Numbers at equal steps or equal ratios."""

    def __init__(self, hp: Any) -> None:
        super().__init__(hp)
        self.count = len(list(hp.values))

    def position(self, value: float) -> float:
        hp = self.hp
        if hp.sampling == "linear":
            index = (value - hp.min_value) / hp.step
        elif hp.sampling == "log":
            index = math.log(value / hp.min_value, hp.step)
        else:
            distance = hp.max_value + hp.min_value - value
            index = math.log(distance / hp.min_value, hp.step)
        return float(index / max(self.count - 1, 1))

    def _value(self, index: int) -> float:
        hp = self.hp
        if hp.sampling == "linear":
            return float(hp.min_value + index * hp.step)
        power = hp.min_value * float(hp.step) ** index
        if hp.sampling == "log":
            return float(power)
        return float(hp.max_value + hp.min_value - power)

    def between(self, first: float, last: float, default: Any) -> Any:
        whole = type(self.hp).__name__ == "Int"
        least, most = limits(self.hp)
        low, high = _indices(first, last, self.count)
        possible = [
            value
            for value in map(self._value, range(low, high + 1))
            if least <= value <= most and not (whole and value % 1)
        ]
        if whole:
            possible = [int(value) for value in possible]
        return self._limited(default, min(possible), max(possible))


class Chosen(Range):
    """Numbers from an ordered list."""

    def __init__(self, hp: Any) -> None:
        super().__init__(hp)
        self.count = len(hp.values)

    @property
    def scale(self) -> str:
        return "choice"

    def position(self, value: float) -> float:
        return float(self.hp.values.index(value) / (self.count - 1))

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(self.hp.values)

    def between(self, first: float, last: float, default: Any) -> Any:
        values, n = list(self.hp.values), self.count
        whole = isinstance(values[0], int)
        least, most = inferred_limits(min(values), max(values), whole)
        low, high = _indices(first, last, n)
        below = _continued(values[::-1], max(-low, 0))[n:][::-1]
        extended = below + _continued(values, max(high - n + 1, 0))
        chosen = extended[low + len(below) : high + len(below) + 1]
        if whole:
            chosen = [round(value) for value in chosen]
        possible = [v for v in dict.fromkeys(chosen) if least <= v <= most]
        default = default if default in possible else possible[0]
        return self._copy(values=possible, default=default)


def _indices(first: float, last: float, count: int) -> tuple[int, int]:
    # Rounded outwards; 1e-9 allows for rounding errors in an integer.
    low, high = first * (count - 1), last * (count - 1)
    return math.floor(low + 1e-9), math.ceil(high - 1e-9)


def _continued(values: list[Any], more: int) -> list[Any]:
    """The values and `more` after them, at equal steps or else equal ratios."""
    steps = [b - a for a, b in itertools.pairwise(values)]
    equal = max(steps) - min(steps) <= 1e-6 * max(map(abs, steps))
    found = list(values)
    for _ in range(more):
        if equal or min(values) <= 0:
            found.append(found[-1] + steps[-1])
        else:
            found.append(found[-1] * (values[-1] / values[-2]))
    return found


Scale = Callable[[float], float]


def _scales(hp: Any) -> tuple[Scale, Scale]:
    """The maps to the scale on which KerasTuner samples uniformly, and back."""
    if hp.sampling == "log":
        return math.log, math.exp
    if hp.sampling == "reverse_log":
        total = hp.max_value + hp.min_value
        return lambda x: -math.log(total - x), lambda t: total - math.exp(-t)
    return float, float
