"""Add-ons for training deep networks in Keras 3."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from keras_dnn import (
    callbacks,
    diagnostics,
    initializers,
    layers,
    models,
    optimizers,
    pretraining,
)

if TYPE_CHECKING:
    from keras_dnn import distribution, recipes, tuning

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "callbacks",
    "diagnostics",
    "distribution",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "pretraining",
    "recipes",
    "tuning",
]

# No saved model needs these, so they are imported when they are first used.
_IMPORTED_WHEN_USED = ("distribution", "plotting", "recipes", "tuning")


def __getattr__(name: str) -> ModuleType:
    if name in _IMPORTED_WHEN_USED:
        return importlib.import_module(f"keras_dnn.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
