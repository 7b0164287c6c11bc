"""Pre-training of lower layers where labels are few.

Each function takes an encoder and returns a Keras model around it, to `compile` and to
`fit`. The encoder is part of that model, not a copy: `fit` trains it, and
`keras_dnn.models.reuse_layers` puts a head on it.
"""

from keras_dnn.pretraining.autoencoder import autoencoder
from keras_dnn.pretraining.gan import gan
from keras_dnn.pretraining.masking import masking
from keras_dnn.pretraining.pairs import Pairs
from keras_dnn.pretraining.rotation import rotation
from keras_dnn.pretraining.siamese import siamese
from keras_dnn.pretraining.stacked_autoencoder import stacked_autoencoder

__all__ = [
    "Pairs",
    "autoencoder",
    "gan",
    "masking",
    "rotation",
    "siamese",
    "stacked_autoencoder",
]
