"""`explain()` prints each rule's equations with letters and with current values.

That the equations are right is in `test_equations.py`.
"""

import keras
import pytest

from tests.optimizers.rule_cases import (
    EXACT,
    OTHER_SPELLINGS,
    RULES,
    Zigzag,
    after,
    exact,
)

SPELLINGS = RULES | OTHER_SPELLINGS
DECAY = "θ ← θ − η · λ · θ"
LETTERS = {
    "learning_rate": "η",
    "momentum": "β",
    "rho": "ρ",
    "beta_1": "β₁",
    "beta_2": "β₂",
    "epsilon": "ε",
    "weight_decay": "λ",
}


def equations_of(optimizer):
    decay = [] if optimizer.weight_decay is None else [DECAY]
    return decay + optimizer.equations.strip().splitlines()


def with_values(equation, values):
    """The equation with the number of each letter of `values` in its place."""
    for letter in sorted(values, key=len, reverse=True):
        equation = equation.replace(letter, f"{values[letter]:.6g}")
    return equation


def assert_values_are_printed(optimizer, lines, values):
    values = values | {f"{k}′": v for k, v in values.items() if k in ("β", "β₁")}
    for equation in equations_of(optimizer):
        (line,) = (each for each in lines if each.startswith(f"{equation}  "))
        assert f"  {with_values(equation, values)}  " in f"{line}  "


@pytest.mark.parametrize("name", SPELLINGS)
def test_equations_of_each_rule_are_printed_in_their_order(name, explained):
    optimizer = SPELLINGS[name].ours()
    lines = explained(optimizer)
    printed = [line for line in lines if "←" in line or line[0] in "Δμ"]
    for line, equation in zip(printed, equations_of(optimizer), strict=True):
        assert line.startswith(f"{equation}  ")


@pytest.mark.parametrize("name", SPELLINGS)
def test_first_line_names_the_class_and_counts_the_updates(name, explained):
    optimizer = SPELLINGS[name].ours()
    assert explained(optimizer)[0] == f"{SPELLINGS[name].name} after 0 updates"
    assert explained(after(optimizer, 3))[0].endswith(" after 3 updates")


@pytest.mark.parametrize("name", SPELLINGS)
def test_each_letter_is_listed_with_its_value_and_its_argument(name, explained):
    rule = SPELLINGS[name]
    lines = explained(rule.ours(**exact(rule)))
    for argument in rule.numbers.keys() & LETTERS.keys():
        assert f"{LETTERS[argument]} = {EXACT[argument]:.6g}, {argument}" in lines


# `EXACT` has some numbers twice; these are all different.
DISTINCT = {argument: 0.5 + i / 32 for i, argument in enumerate(LETTERS)}


@pytest.mark.parametrize("name", SPELLINGS)
def test_values_are_printed_in_place_of_the_letters(name, explained):
    rule = SPELLINGS[name]
    arguments = {n: DISTINCT[n] for n in rule.numbers.keys() & LETTERS.keys()}
    values = {LETTERS[n]: value for n, value in arguments.items()}
    values |= {"τ": 0, "∏β₁": 1, "∏β₂": 1, "∏μ": 1}
    optimizer = rule.ours(**arguments)
    assert_values_are_printed(optimizer, explained(optimizer), values)


@pytest.mark.parametrize("name", SPELLINGS)
def test_numbers_that_were_set_are_printed(name, explained):
    rule = SPELLINGS[name]
    optimizer = after(rule.ours(), 1)
    values = {"ε": 1e-7, "τ": 0, "∏β₁": 0.9, "∏β₂": 0.999}
    values["∏μ"] = 0.9 * (1 - 0.96 / 2)
    for argument in rule.numbers.keys() & LETTERS.keys() - {"epsilon"}:
        setattr(optimizer, argument, DISTINCT[argument])
        values[LETTERS[argument]] = DISTINCT[argument]
    lines = explained(optimizer)
    assert_values_are_printed(optimizer, lines, values)
    for argument in rule.numbers.keys() & LETTERS.keys():
        letter = LETTERS[argument]
        assert f"{letter} = {values[letter]:.6g}, {argument}" in lines


def test_a_schedule_is_printed_with_its_current_value(explained):
    zigzag = Zigzag(0.5)
    optimizer = RULES["adam"].ours(beta_1=zigzag)
    assert "β₁ = 0.5, beta_1" in explained(optimizer)
    assert "β₁ = 0.375, beta_1" in explained(after(optimizer, 1))
    assert "β₁ = 0.25, beta_1" in explained(after(RULES["adam"].ours(beta_1=zigzag), 2))


def test_a_callable_is_printed_with_its_current_value(explained):
    value = keras.Variable(0.25)
    optimizer = RULES["rmsprop"].ours(rho=lambda: value)
    assert "ρ = 0.25, rho" in explained(optimizer)
    value.assign(0.75)
    assert "ρ = 0.75, rho" in explained(optimizer)


SURROUNDINGS = {
    "clipnorm": ({"clipnorm": 0.375}, "g ← g · min(1, 0.375 / ‖g‖)"),
    "global_clipnorm": (
        {"global_clipnorm": 0.375},
        "g ← g · min(1, 0.375 / ‖all g‖)",
    ),
    "clipvalue": ({"clipvalue": 0.375}, "g ← max(−0.375, min(0.375, g))"),
    "accumulation": ({"gradient_accumulation_steps": 6}, "g ← mean of 6 gradients"),
    "decay": ({"weight_decay": 0.375}, DECAY),
    "average": (
        {"use_ema": True, "ema_momentum": 0.875},
        "average ← 0.875 average + (1 − 0.875) θ",
    ),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("surrounding", SURROUNDINGS)
def test_steps_around_the_rule_are_printed_around_it(surrounding, name, explained):
    arguments, line = SURROUNDINGS[surrounding]
    optimizer = RULES[name].ours(**arguments)
    lines = explained(optimizer)
    places = [i for i, each in enumerate(lines) if each.startswith(line)]
    assert len(places) == 1
    first = optimizer.equations.strip().splitlines()[0]
    rule = next(i for i, each in enumerate(lines) if each.startswith(first))
    assert (places[0] > rule) == (surrounding == "average")
    if surrounding == "decay":
        assert lines[places[0]].endswith(" · 0.375 · θ")


def test_accumulation_clip_and_decay_are_printed_in_the_order_they_happen(explained):
    optimizer = RULES["nesterov"].ours(
        weight_decay=0.375, clipnorm=2.0, gradient_accumulation_steps=4
    )
    starts = ["g ← mean of 4", "g ← g · min(1, 2 / ‖g‖)", *equations_of(optimizer)]
    printed = [line for line in explained(optimizer) if "←" in line]
    for line, start in zip(printed, starts, strict=True):
        assert line.startswith(start)


def test_updates_are_counted_under_accumulation(explained):
    optimizer = after(RULES["sgd"].ours(gradient_accumulation_steps=3), 7)
    assert explained(optimizer)[0] == "SGD after 2 updates"


@pytest.mark.parametrize("name", ["sgd-momentum", "rmsprop-momentum"])
def test_an_absent_momentum_is_not_printed(name, explained):
    lines = explained(SPELLINGS[name].ours(momentum=0.0))
    assert not any("β" in line or "m ←" in line for line in lines)
