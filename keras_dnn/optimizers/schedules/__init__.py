"""Learning rates, and momenta, that change during training."""

from keras_dnn.optimizers.schedules._length import steps_in
from keras_dnn.optimizers.schedules._schedule import Schedule
from keras_dnn.optimizers.schedules.cosine_decay import CosineDecay
from keras_dnn.optimizers.schedules.exponential_decay import ExponentialDecay
from keras_dnn.optimizers.schedules.inverse_square_root_decay import (
    InverseSquareRootDecay,
)
from keras_dnn.optimizers.schedules.inverse_time_decay import InverseTimeDecay
from keras_dnn.optimizers.schedules.one_cycle import OneCycle
from keras_dnn.optimizers.schedules.piecewise_constant import PiecewiseConstant
from keras_dnn.optimizers.schedules.power_decay import PowerDecay
from keras_dnn.optimizers.schedules.scaled import Scaled
from keras_dnn.optimizers.schedules.sequence import Sequence
from keras_dnn.optimizers.schedules.step_decay import StepDecay
from keras_dnn.optimizers.schedules.warmup import Warmup

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "InverseSquareRootDecay",
    "InverseTimeDecay",
    "OneCycle",
    "PiecewiseConstant",
    "PowerDecay",
    "Scaled",
    "Schedule",
    "Sequence",
    "StepDecay",
    "Warmup",
    "steps_in",
]
