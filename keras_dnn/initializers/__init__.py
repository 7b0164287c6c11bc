"""Initial weights: Glorot, He and LeCun with correct fans, gains, and LSUV."""

from keras_dnn.initializers.activation_table import for_activation
from keras_dnn.initializers.delta_orthogonal import DeltaOrthogonal
from keras_dnn.initializers.gain import calculate_gain
from keras_dnn.initializers.glorot import GlorotNormal, GlorotUniform
from keras_dnn.initializers.he import HeNormal, HeUniform
from keras_dnn.initializers.lecun import LeCunNormal, LeCunUniform
from keras_dnn.initializers.unit_variance import LSUVResult, lsuv
from keras_dnn.initializers.variance_scaling import VarianceScaling
from keras_dnn.initializers.whole_model import initialize

__all__ = [
    "DeltaOrthogonal",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LSUVResult",
    "LeCunNormal",
    "LeCunUniform",
    "VarianceScaling",
    "calculate_gain",
    "for_activation",
    "initialize",
    "lsuv",
]
