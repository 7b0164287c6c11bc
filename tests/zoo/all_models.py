"""The whole zoo: importing a family enters its models."""

from tests.zoo import (
    masked_text,
    plain,
)
from tests.zoo.model_case import ZOO

__all__ = ["ZOO", "masked_text", "plain"]
