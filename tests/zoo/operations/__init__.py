"""What is done with every model of the zoo: importing a group enters its operations."""

from tests.zoo.operations import (
    checking,
    initializing,
    optimizing,
    pretraining,
    recipes,
    runtimes,
    sampling,
    steering,
    surgery,
    watching,
)

__all__ = [
    "checking",
    "initializing",
    "optimizing",
    "pretraining",
    "recipes",
    "runtimes",
    "sampling",
    "steering",
    "surgery",
    "watching",
]
