"""Callbacks that see into training and steer it."""

from keras_dnn.callbacks.gradient_norms import GradientNorms
from keras_dnn.callbacks.one_cycle_scheduler import OneCycleScheduler
from keras_dnn.callbacks.performance_scheduler import PerformanceScheduler
from keras_dnn.callbacks.step_logger import StepLogger

__all__ = ["GradientNorms", "OneCycleScheduler", "PerformanceScheduler", "StepLogger"]
