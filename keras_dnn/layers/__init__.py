"""Layers that stay random at inference."""

from keras_dnn.layers.mc_dropout import (
    MCAlphaDropout,
    MCDropout,
    MCGaussianDropout,
    MCSpatialDropout1D,
    MCSpatialDropout2D,
    MCSpatialDropout3D,
)
from keras_dnn.layers.monte_carlo import MonteCarlo
from keras_dnn.layers.rrelu import RReLU

__all__ = [
    "MCAlphaDropout",
    "MCDropout",
    "MCGaussianDropout",
    "MCSpatialDropout1D",
    "MCSpatialDropout2D",
    "MCSpatialDropout3D",
    "MonteCarlo",
    "RReLU",
]
