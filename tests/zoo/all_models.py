"""The whole zoo: importing a family enters its models."""

from tests.zoo import (
    generative,
    masked_text,
    own_train_step,
    plain,
    several_inputs,
    shared_layers,
    subclassed,
)
from tests.zoo.model_case import ZOO

FAMILIES = (
    plain,
    several_inputs,
    shared_layers,
    masked_text,
    subclassed,
    own_train_step,
    generative,
)

__all__ = ["FAMILIES", "ZOO"]
