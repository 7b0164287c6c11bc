"""All cures: importing a file enters its cures."""

from diagnosed import cures_before_training, cures_during_training
from diagnosed.cure import CURES

__all__ = ["CURES", "cures_before_training", "cures_during_training"]
