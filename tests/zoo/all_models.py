"""The whole zoo: importing a family enters its models."""

from tests.zoo import (
    datasets,
    generative,
    masked_text,
    own_layers,
    own_loss,
    own_train_step,
    plain,
    precision,
    preprocessing,
    series,
    sets_and_graphs,
    several_inputs,
    shared_layers,
    subclassed,
    transformers,
    vision,
)
from tests.zoo.model_case import ZOO

FAMILIES = (
    plain,
    several_inputs,
    shared_layers,
    preprocessing,
    vision,
    masked_text,
    series,
    transformers,
    sets_and_graphs,
    own_layers,
    subclassed,
    own_loss,
    own_train_step,
    generative,
    datasets,
    precision,
)
"""In the order of the table in the docs; the first line of each is its heading."""

__all__ = ["FAMILIES", "ZOO"]
