"""What a cure is: the advice of a finding, followed on a sick network."""

import dataclasses
from collections.abc import Callable

from keras import layers

from diagnosed.case import Task
from diagnosed.parts import sequential


@dataclasses.dataclass(frozen=True)
class Cure:
    """A disease, a network that has it, and the advice that is followed."""

    finding: str
    network: str
    about: str
    """What is done, as the table says it."""
    apply: Callable[[Task], Task]


CURES: list[Cure] = []


def cure(finding, network):
    """Enters a function as what the advice of a finding asks for.

    It gets the sick network, which it changes or from which it takes the data, and
    returns the cured one.
    """

    def enter(apply):
        about = apply.__doc__.strip().splitlines()[0].rstrip(".")
        CURES.append(Cure(finding, network, about, apply))
        return apply

    return enter


def again(sick, model, **changes):
    """The same training of another model."""
    return dataclasses.replace(sick, model=model, **changes)


def both(sick, change):
    """Changes the inputs for training and for validation."""
    x, y = sick.validation
    return {"x": change(sick.x), "validation": (change(x), y)}


def targets(sick, change):
    """Changes the targets for training and for validation."""
    x, y = sick.validation
    return {"y": change(sick.y), "validation": (x, change(y))}


def classifier(shape, *body, **options):
    """Ends in a softmax over three classes for columns, over ten for pictures."""
    last = layers.Dense(3 if shape == (10,) else 10, "softmax")
    return sequential(shape, *body, last, **options)


def dense(*units, activation="relu", initializer="glorot_uniform"):
    return [layers.Dense(n, activation, kernel_initializer=initializer) for n in units]
