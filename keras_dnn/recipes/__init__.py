"""Default configurations: ready models and the settings to train them with."""

from keras_dnn.recipes.bias_variance import BiasVariance, bias_variance
from keras_dnn.recipes.networks import deep_network, self_normalizing_network
from keras_dnn.recipes.training import Training, training

__all__ = [
    "BiasVariance",
    "Training",
    "bias_variance",
    "deep_network",
    "self_normalizing_network",
    "training",
]
