"""Checks of arguments, whose errors name the argument and show its value."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

INFINITY = float("inf")

LONGEST = 80
"""Longer values are cut in messages."""

Choice = TypeVar("Choice", bound=str)


def number(
    name: str,
    value: Any,
    low: float = 0.0,
    high: float = INFINITY,
    bounds: str = "[)",
    or_else: str = "",
) -> float:
    """Returns `value` as a float if it is a number between `low` and `high`.

    Args:
        name: of the argument.
        value: of the argument.
        low: the lower bound.
        high: the upper bound.
        bounds: which of them belong to the interval, such as `"[)"`.
        or_else: what else the argument may be, for the message.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        x = float(value)
        above = low <= x if bounds[0] == "[" else low < x
        below = x <= high if bounds[1] == "]" else x < high
        if above and below:
            return x
    interval = f"{bounds[0]}{low:g}, {high:g}{bounds[1]}"
    raise ValueError(
        f"{name} must be a number in {interval}{or_else}. "
        f"Received: {name}={shown(value)}"
    )


def count(name: str, value: Any, least: int = 1) -> int:
    """Returns `value` as an int if it is a whole number of at least `least`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if whole and value >= least:
        return int(value)
    kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise ValueError(f"{name} must be {kind}. Received: {name}={shown(value)}")


def integer(name: str, value: Any) -> int:
    """Returns `value` as an int if it is a whole number, of any sign."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    raise ValueError(f"{name} must be an integer. Received: {name}={value!r}")


def every(value: Any) -> Literal["epoch"] | int:
    """Returns how often a callback acts, if it is `"epoch"` or a count of batches."""
    if isinstance(value, str) and value == "epoch":
        return "epoch"
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return count("every", value)
    hint = "; targets belong beside inputs, in data=(x, y)"
    raise ValueError(
        "every must be 'epoch' or a positive integer"
        f"{hint if hasattr(value, 'shape') else ''}. Received: every={shown(value)}"
    )


def several(name: str, value: Any) -> list[Any]:
    """Returns `value` as a list if it is a sequence or another ordered iterable."""
    if isinstance(value, Iterable) and not isinstance(value, str | dict | set):
        return list(value)
    raise ValueError(f"{name} must be a list. Received: {name}={shown(value)}")


def switch(name: str, value: Any) -> bool:
    """Returns `value` if it is `True` or `False`."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} must be True or False. Received: {name}={shown(value)}")


def choice(name: str, value: Choice, choices: tuple[Any, ...]) -> Choice:
    """Returns `value` if it is one of `choices`, such as the arguments of a `Literal`.

    Args:
        name: of the argument.
        value: of the argument.
        choices: `typing.get_args` of the argument's type.
    """
    if value in choices:
        return value
    options = " or ".join(map(repr, choices))
    raise ValueError(f"{name} must be {options}. Received: {name}={shown(value)}")


def shown(value: Any) -> str:
    """The value in at most 80 characters of one line; of an array its shape."""
    shape = getattr(value, "shape", None)
    if shape is not None and not isinstance(value, type):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
