"""Update rules written from their papers, with hyperparameters that can move."""

from keras_dnn.optimizers import schedules
from keras_dnn.optimizers._hyperparameter import Hyperparameter
from keras_dnn.optimizers._optimizer import Optimizer
from keras_dnn.optimizers.nesterov import Nesterov

__all__ = ["Hyperparameter", "Nesterov", "Optimizer", "schedules"]
