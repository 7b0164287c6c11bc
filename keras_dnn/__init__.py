"""Add-ons for training deep networks in Keras 3."""

from keras_dnn import (
    callbacks,
    diagnostics,
    distribution,
    initializers,
    layers,
    models,
    optimizers,
    pretraining,
    recipes,
    tuning,
)

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
