"""Layers that stay random at inference, and a bias for each place."""

from keras_dnn.layers.bias_map import BiasMap
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
    "BiasMap",
    "MCAlphaDropout",
    "MCDropout",
    "MCGaussianDropout",
    "MCSpatialDropout1D",
    "MCSpatialDropout2D",
    "MCSpatialDropout3D",
    "MonteCarlo",
    "RReLU",
]
