"""The printed equations of each rule, and those of its module, are what it does."""

import importlib
import re

import keras
import numpy as np
import pytest

from keras_dnn.optimizers import nadam
from keras_dnn.optimizers._scalar import Scalar
from tests.optimizers.equation_parser import Program
from tests.optimizers.rule_cases import (
    MOVING,
    OTHER_SPELLINGS,
    PACKED,
    RULES,
    assert_equal,
    random_training,
    trained,
)

SPELLINGS = RULES | OTHER_SPELLINGS
STEPS = 8
LETTERS = {
    "learning_rate": "η",
    "momentum": "β",
    "rho": "ρ",
    "beta_1": "β₁",
    "beta_2": "β₂",
    "weight_decay": "λ",
    "dampening": "τ",
    "epsilon": "ε",
}


class Listed(keras.optimizers.schedules.LearningRateSchedule):
    """The values of a list, one for each update, in float64."""

    def __init__(self, values):
        self.listed = values

    def __call__(self, step):
        return keras.ops.take(keras.ops.array(self.listed, "float64"), step)


@pytest.fixture(autouse=True)
def _no_rounding(monkeypatch):
    """The equations do not say which numbers are rounded to float32, as in Keras."""
    monkeypatch.setattr(Scalar, "rounded", property(lambda self: self))
    # TensorFlow takes a Python float for float32.
    monkeypatch.setattr(nadam, "DECAY", np.float64(nadam.DECAY))


def random_arguments(rule, seed):
    """Hyperparameters as lists, one value a step and one more, and fixed numbers."""
    rng = np.random.default_rng(seed)
    arguments = {
        "epsilon": rng.uniform(1e-3, 0.1),
        # Keras's initializer keeps a float in float32.
        "initial_accumulator_value": float(np.float32(rng.uniform(0.1, 1))),
        **{name: rng.uniform(0.2, 0.95, STEPS + 1) for name in sorted(MOVING)},
    }
    names = [*rule.numbers]
    if rule.name in ("Momentum", "Nesterov"):
        arguments["dampening"] = rng.uniform(0.1, 0.9)
        names.append("dampening")
    return {name: arguments[name] for name in names}


def made(rule, arguments, **others):
    return rule.ours(
        **{
            name: Listed(value) if isinstance(value, np.ndarray) else value
            for name, value in arguments.items()
        },
        **others,
    )


def letters_at(arguments, t):
    """The value of each letter at a step, and with a prime that of the next step."""
    letters = {"τ": 0.0}
    for name in arguments.keys() & LETTERS.keys():
        value, letter = arguments[name], LETTERS[name]
        if isinstance(value, np.ndarray):
            letters |= {letter: value[t], f"{letter}′": value[t + 1]}
        else:
            letters[letter] = value
    return letters


def by_equations(lines, arguments, slots, training):
    """The weights after each step of the equations, a flat row a step."""
    start, gradients = training
    programs = [Program(lines, weight, slots) for weight in start]
    return np.array(
        [
            np.concatenate(
                [
                    np.ravel(program.step(g[t], **letters_at(arguments, t)))
                    for program, g in zip(programs, gradients, strict=True)
                ]
            )
            for t in range(STEPS)
        ]
    )


def printed(optimizer, capsys):
    """The equations that `explain` prints, without those with numbers beside them."""
    capsys.readouterr()
    optimizer.explain()
    lines = (line.strip() for line in capsys.readouterr().out.splitlines()[1:])
    equations = [re.split(r"\s{4}", line)[0] for line in lines]
    return [e for e in equations if not re.match(r"\S+ = \S+, [a-z]", e)]


def initial_slots(optimizer):
    return [optimizer.initial_value(slot) for slot in optimizer.slots]


SURROUNDINGS = [
    {},
    {"clipnorm": 0.75},
    {"clipvalue": 0.5},
]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", SPELLINGS)
def test_printed_equations_give_the_same_weights(name, seed, capsys):
    rule, training = SPELLINGS[name], random_training(PACKED, STEPS, seed)
    arguments = random_arguments(rule, seed)
    surrounding = SURROUNDINGS[(seed + len(name)) % 3]
    optimizer = made(rule, arguments, **surrounding)
    lines = printed(optimizer, capsys)
    expected = by_equations(lines, arguments, initial_slots(optimizer), training)
    assert_equal(trained(optimizer, *training), expected)


@pytest.mark.parametrize("surrounding", SURROUNDINGS[1:], ids=str)
def test_printed_clips_are_those_of_the_step(surrounding, capsys):
    rule, training = RULES["adamw"], random_training(PACKED, STEPS)
    arguments = random_arguments(rule, 3)
    optimizer = made(rule, arguments, **surrounding)
    lines = printed(optimizer, capsys)
    slots = initial_slots(optimizer)
    assert_equal(
        trained(optimizer, *training), by_equations(lines, arguments, slots, training)
    )
    without = [line for line in lines if not line.startswith("g ←")]
    assert len(without) == len(lines) - 1
    bare = by_equations(without, arguments, slots, training)
    assert np.abs(bare - by_equations(lines, arguments, slots, training)).max() > 1e-3


# The text at the head of each module

# What its equations have beyond those of the class: the variants are in it too.
IN_FULL = {"Adam": "amsgrad", "RMSProp": "rmsprop-centered-momentum"}


def equations_of_module(name):
    """The last block of indented lines that are equations, without remarks."""
    module = importlib.import_module(f"keras_dnn.optimizers.{name.lower()}")
    blocks = re.findall(r"(?:^    .*\n)+", module.__doc__, re.M)
    return [re.split(r"\s{4}", line.strip())[0] for line in blocks[-1].splitlines()]


@pytest.mark.parametrize("cls", sorted({r.name for r in RULES.values()} - {"AdamW"}))
def test_equations_at_the_head_of_a_module_give_the_same_weights(cls):
    first = next(name for name, rule in RULES.items() if rule.name == cls)
    rule, training = RULES[IN_FULL.get(cls, first)], random_training(PACKED, STEPS)
    arguments = random_arguments(rule, 4)
    optimizer = made(rule, arguments)
    slots = initial_slots(optimizer)
    expected = by_equations(equations_of_module(cls), arguments, slots, training)
    assert_equal(trained(optimizer, *training), expected)


def test_module_of_adamw_prints_the_decay_as_explain_does(capsys):
    printed_first, *_ = printed(RULES["adamw"].ours(), capsys)
    written_first, _ = equations_of_module("AdamW")
    assert printed_first.replace(" · ", " ") == written_first


# What a wrong equation would show


def flipped(line):
    """The line with its last sign turned."""
    *_, last = re.finditer("[+−]", line)
    return line[: last.start()] + "+−"[last[0] == "+"] + line[last.end() :]


def one_percent_more(line):
    left, sign, right = re.fullmatch(r"(\S+) (←|=) (.*)", line).groups()
    return f"{left} {sign} 1.01 ({right})"


def without_last_term(line):
    """The line up to the last sign outside of brackets."""
    depth, ends = 0, []
    for i, character in enumerate(line):
        depth += character == "("
        depth -= character == ")"
        if not depth and line[i : i + 3] in (" + ", " − "):
            ends.append(i)
    return line[: ends[-1]]


MUTATIONS = [
    (name, i, mutate)
    for name, rule in RULES.items()
    for i, line in enumerate(rule.ours().equations.strip().splitlines())
    for mutate, possible in (
        (flipped, re.search("[+−]", line)),
        (one_percent_more, True),
        (without_last_term, re.search(r" [+−] (?![^(]*\))", line)),
    )
    if possible
]


@pytest.mark.parametrize(
    ("name", "position", "mutate"),
    MUTATIONS,
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_a_wrong_equation_gives_other_weights(name, position, mutate):
    rule, training = RULES[name], random_training(PACKED, STEPS)
    arguments = random_arguments(rule, 5)
    optimizer = made(rule, arguments)
    right = optimizer.equations.strip().splitlines()
    wrong = [mutate(e) if i == position else e for i, e in enumerate(right)]
    assert wrong != right
    with np.errstate(all="ignore"):
        first, second = (
            by_equations(lines, arguments, initial_slots(optimizer), training)
            for lines in (right, wrong)
        )
    assert not np.allclose(first, second, rtol=1e-6, atol=1e-6)
