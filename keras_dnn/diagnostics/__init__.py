"""What is wrong with a network: checks before training, findings and reports."""

from keras_dnn.diagnostics.check import (
    Check,
    register_check,
    registered_checks,
    unregister_check,
)
from keras_dnn.diagnostics.examination import Examination
from keras_dnn.diagnostics.finding import Finding
from keras_dnn.diagnostics.gradient_check import GradientCheck, check_gradients
from keras_dnn.diagnostics.layer_signal import LayerSignal
from keras_dnn.diagnostics.preflight import preflight
from keras_dnn.diagnostics.report import Chart, Report

__all__ = [
    "Chart",
    "Check",
    "Examination",
    "Finding",
    "GradientCheck",
    "LayerSignal",
    "Report",
    "check_gradients",
    "preflight",
    "register_check",
    "registered_checks",
    "unregister_check",
]
