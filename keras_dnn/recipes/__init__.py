"""Default configurations, as ready models and the settings to train them with."""

from keras_dnn.recipes.diagnosis import BiasVariance, bias_variance
from keras_dnn.recipes.networks import deep_network, self_normalizing_network
from keras_dnn.recipes.settings import Training, training

__all__ = [
    "BiasVariance",
    "Training",
    "bias_variance",
    "deep_network",
    "self_normalizing_network",
    "training",
]
