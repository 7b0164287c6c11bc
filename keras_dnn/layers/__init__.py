"""Layers that stay random at inference, and layers for many classes."""

from keras_dnn.layers.bias_map import BiasMap
from keras_dnn.layers.hierarchical_crossentropy import HierarchicalCrossentropy
from keras_dnn.layers.hierarchical_softmax import HierarchicalSoftmax
from keras_dnn.layers.hierarchical_top_k import HierarchicalTopK
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
    "HierarchicalCrossentropy",
    "HierarchicalSoftmax",
    "HierarchicalTopK",
    "MCAlphaDropout",
    "MCDropout",
    "MCGaussianDropout",
    "MCSpatialDropout1D",
    "MCSpatialDropout2D",
    "MCSpatialDropout3D",
    "MonteCarlo",
    "RReLU",
]
