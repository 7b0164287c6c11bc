"""What is wrong with a model: checks before and during training, and their findings."""

from keras_dnn.diagnostics.check import Check
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.gradient_check import GradientCheck, check_gradients
from keras_dnn.diagnostics.layer_signal import LayerSignal
from keras_dnn.diagnostics.preflight import preflight
from keras_dnn.diagnostics.registry import (
    register_check,
    registered_checks,
    unregister_check,
)
from keras_dnn.diagnostics.report import Chart, Report
from keras_dnn.diagnostics.training_history import NonfiniteStep, TrainingHistory

__all__ = [
    "Chart",
    "Check",
    "Examination",
    "Finding",
    "GradientCheck",
    "LayerSignal",
    "NonfiniteStep",
    "Report",
    "TrainingHistory",
    "check_gradients",
    "preflight",
    "register_check",
    "registered_checks",
    "unregister_check",
]
