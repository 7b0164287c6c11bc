"""Reads the equations that `explain` prints and runs them in NumPy.

    program      one equation a line, in the order in which they are carried out
    equation     letter ← expression   the letter keeps its value until the next step
                 letter = expression   it is defined again in each step
    expression   terms with + and −
    term         factors side by side, or with · and /, from left to right
    factor       √factor, or an atom, perhaps raised to a power: g², 0.96ᵗ⁺¹
    atom         2.5, ½, a letter, ∏letter, (expression), |expression|, ‖letter‖,
                 max(expression, expression), min(expression, expression)

A letter may have a hat, an index and a prime. ∏β₁ is the product of β₁ over all steps
so far, including the current one.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?|½)"
    r"|(?P<function>max|min)(?=\()"
    r"|(?P<letter>[A-Za-zα-ωΔ]\u0302?[₁₂]?′?)(?![A-Za-z])"
    r"|(?P<power>[²ᵗ⁺¹]+)"
    r"|(?P<sign>[-+−·/()|‖√∏,]))"
)
POWERS: dict[str, Callable[[int], int]] = {
    "²": lambda t: 2,
    "ᵗ": lambda t: t,
    "ᵗ⁺¹": lambda t: t + 1,
}
FUNCTIONS = {"max": np.maximum, "min": np.minimum}


class Token(NamedTuple):
    kind: str
    text: str


class Equation(NamedTuple):
    letter: str
    lasting: bool  # ←, not =
    expression: list[Token]


def equation(line: str) -> Equation:
    left, sign, right = re.fullmatch(r"\s*(\S+) (←|=) (.*)", line).groups()
    return Equation(left, sign == "←", tokens(right))


def tokens(text: str) -> list[Token]:
    found, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text[position:]!r} in {text!r}")
        found.append(Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return found


class Program:
    """The equations of a rule, and what they keep of one weight between steps."""

    def __init__(
        self, lines: Sequence[str], weight: np.ndarray, slots: Sequence[float]
    ) -> None:
        self.equations = [equation(line) for line in lines]
        kept = dict.fromkeys(e.letter for e in self.equations if e.lasting)
        letters = [letter for letter in kept if letter not in ("θ", "g")]
        self.kept: dict[str, Any] = {"θ": weight}
        self.kept |= dict(zip(letters, slots, strict=True))
        self.products: dict[str, float] = {}
        self.t = 0

    def step(self, g: np.ndarray, **letters: float) -> np.ndarray:
        """Makes a step with a gradient and hyperparameters; returns the weight."""
        self.t += 1
        self.values = {**self.kept, **letters, "g": g}
        self.used: dict[str, float] = {}
        for letter, _, expression in self.equations:
            self.values[letter] = Evaluation(expression, self).value
        self.kept = {letter: self.values[letter] for letter in self.kept}
        self.products |= self.used
        return self.kept["θ"]

    def product(self, letter: str) -> float:
        self.used[letter] = self.products.get(letter, 1.0) * self.values[letter]
        return self.used[letter]


class Evaluation:
    """The value of one expression in the present step of a program."""

    def __init__(self, expression: list[Token], program: Program) -> None:
        self.rest, self.program = list(expression), program
        self.value = self.sum()
        if self.rest:
            raise ValueError(f"{self.rest} is left over")

    def next_is(self, *texts: str) -> bool:
        return bool(self.rest) and self.rest[0].text in texts

    def take(self, *texts: str) -> str:
        token = self.rest.pop(0)
        if texts and token.text not in texts:
            raise ValueError(f"{token.text!r} in place of {texts}")
        return token.text

    def sum(self) -> Any:
        value = -self.term() if self.next_is("−") and self.take() else self.term()
        while self.next_is("+", "−"):
            sign = 1 if self.take() == "+" else -1
            value = value + sign * self.term()
        return value

    def term(self) -> Any:
        value = self.factor()
        while self.rest and not self.next_is("+", "−", ")", ",", "‖"):
            if self.next_is("|") and self.inside_bars:
                break
            if self.next_is("/"):
                self.take()
                value = value / self.factor()
            else:
                if self.next_is("·"):
                    self.take()
                value = value * self.factor()
        return value

    inside_bars = False

    def factor(self) -> Any:
        if self.next_is("√"):
            self.take()
            return np.sqrt(self.factor())
        value = self.atom()
        if self.rest and self.rest[0].kind == "power":
            value = value ** POWERS[self.take()](self.program.t)
        return value

    def atom(self) -> Any:
        token = self.rest.pop(0)
        if token.kind == "number":
            return 0.5 if token.text == "½" else float(token.text)
        if token.kind == "letter":
            return self.program.values[token.text]
        if token.kind == "function":
            self.take("(")
            first = self.sum()
            self.take(",")
            second = self.sum()
            self.take(")")
            return FUNCTIONS[token.text](first, second)
        if token.text == "∏":
            return self.program.product(self.take())
        if token.text == "(":
            value = self.sum()
            self.take(")")
            return value
        if token.text == "|":
            self.inside_bars = True
            value = np.abs(self.sum())
            self.inside_bars = False
            self.take("|")
            return value
        if token.text == "‖":
            value = np.sqrt(np.sum(np.square(self.program.values[self.take()])))
            self.take("‖")
            return value
        raise ValueError(f"{token.text!r} begins no factor")
