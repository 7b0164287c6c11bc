"""Update rules written from their papers, with hyperparameters that can change."""

from keras_dnn.optimizers import schedules
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer
from keras_dnn.optimizers.adadelta import Adadelta
from keras_dnn.optimizers.adagrad import AdaGrad
from keras_dnn.optimizers.adam import Adam
from keras_dnn.optimizers.adamax import AdaMax
from keras_dnn.optimizers.adamw import AdamW
from keras_dnn.optimizers.momentum import Momentum
from keras_dnn.optimizers.nadam import Nadam
from keras_dnn.optimizers.nesterov import Nesterov
from keras_dnn.optimizers.rmsprop import RMSProp
from keras_dnn.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "AdaGrad",
    "AdaMax",
    "Adadelta",
    "Adam",
    "AdamW",
    "Hyperparameter",
    "Momentum",
    "Nadam",
    "Nesterov",
    "Optimizer",
    "RMSProp",
    "schedules",
]
