"""Callbacks that see into training and steer it."""

from keras_dnn.callbacks._probe.record import Record
from keras_dnn.callbacks._probe.training_step import TrainingStep
from keras_dnn.callbacks.activation_statistics import ActivationStatistics
from keras_dnn.callbacks.doctor import Doctor
from keras_dnn.callbacks.gradient_norms import GradientNorms
from keras_dnn.callbacks.gradual_unfreezing import GradualUnfreezing
from keras_dnn.callbacks.max_norm import MaxNorm
from keras_dnn.callbacks.one_cycle_scheduler import OneCycleScheduler
from keras_dnn.callbacks.performance_scheduler import PerformanceScheduler
from keras_dnn.callbacks.probe import Probe
from keras_dnn.callbacks.step_logger import StepLogger
from keras_dnn.callbacks.training_evaluation import TrainingEvaluation

__all__ = [
    "ActivationStatistics",
    "Doctor",
    "GradientNorms",
    "GradualUnfreezing",
    "MaxNorm",
    "OneCycleScheduler",
    "PerformanceScheduler",
    "Probe",
    "Record",
    "StepLogger",
    "TrainingEvaluation",
    "TrainingStep",
]
