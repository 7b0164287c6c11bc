"""What `explain` prints: a rule's equations, with letters and with numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_dnn._tensorflow import tf

if TYPE_CHECKING:
    from keras_dnn.optimizers._optimizer import Optimizer


SYMBOLS = {
    "η": "learning_rate",
    "λ": "weight_decay",
    "β": "momentum",
    "β′": "momentum",
    "τ": "dampening",
    "ρ": "rho",
    "β₁": "beta_1",
    "β₁′": "beta_1",
    "β₂": "beta_2",
    "ε": "epsilon",
    "∏β₁": "beta_1_product",
    "∏β₂": "beta_2_product",
    "∏μ": "mu_product",
}
"""The letter of each hyperparameter and counter; a prime marks the next step."""


def of(optimizer: Optimizer) -> str:
    """The text for an optimizer: equations, the same with numbers, then the letters."""
    equations = [*_before(optimizer), *optimizer.equations.strip().splitlines()]
    equations += _after(optimizer)
    used = _used(equations)
    values = {letter: _value(optimizer, letter) for letter in used}
    width = max(map(_width, equations), default=0)
    count = int(tf.convert_to_tensor(optimizer.iterations))
    lines = [
        f"{type(optimizer).__name__} after {count} update{'s' * (count != 1)}",
        *(
            f"    {e}{' ' * (width - _width(e))}    {_with_numbers(e, values)}"
            for e in equations
        ),
        *(f"    {letter} = {values[letter]}, {_meaning(letter)}" for letter in used),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _used(equations: list[str]) -> list[str]:
    found = re.findall(_pattern(SYMBOLS), "\n".join(equations))
    return [letter for letter in SYMBOLS if letter in found]


def _pattern(letters: Iterable[str]) -> str:
    """Matches any of the letters; β is not found in β₁."""
    return "|".join(sorted(letters, key=len, reverse=True))


def _before(optimizer: Optimizer) -> list[str]:
    """Equations of what happens before the rule."""
    lines = []
    if optimizer.gradient_accumulation_steps:
        lines.append(f"g ← mean of {optimizer.gradient_accumulation_steps} gradients")
    if optimizer.clipnorm is not None:
        lines.append(f"g ← g · min(1, {optimizer.clipnorm:g} / ‖g‖)")
    if optimizer.global_clipnorm is not None:
        lines.append(f"g ← g · min(1, {optimizer.global_clipnorm:g} / ‖all g‖)")
    if optimizer.clipvalue is not None:
        lines.append(
            f"g ← max(−{optimizer.clipvalue:g}, min({optimizer.clipvalue:g}, g))"
        )
    if optimizer.weight_decay is not None:
        lines.append("θ ← θ − η · λ · θ")
    return lines


def _after(optimizer: Optimizer) -> list[str]:
    """Equations of what happens after the rule."""
    if not optimizer.use_ema:
        return []
    momentum = optimizer.ema_momentum
    return [f"average ← {momentum:g} average + (1 − {momentum:g}) θ"]


def _meaning(letter: str) -> str:
    return SYMBOLS[letter] + " of the next step" * letter.endswith("′")


def _width(text: str) -> int:
    """Columns on the screen; the hat of v̂ takes none."""
    return sum(not unicodedata.combining(character) for character in text)


def _value(optimizer: Optimizer, letter: str) -> str:
    name = SYMBOLS[letter]
    if letter.endswith("′"):
        return f"{float(getattr(type(optimizer), name).read(optimizer, 1).value):.6g}"
    if name in optimizer.counters:
        if not optimizer.built:
            return "1"
        position = optimizer.counters.index(name)
        counter = optimizer._counter_variables[position]
        return f"{float(tf.convert_to_tensor(counter)):.6g}"
    return f"{float(tf.convert_to_tensor(getattr(optimizer, name))):.6g}"


def _with_numbers(equation: str, values: dict[str, str]) -> str:
    if not values:
        return equation
    return re.sub(_pattern(values), lambda match: values[match[0]], equation)
