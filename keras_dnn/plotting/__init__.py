"""Figures of plain arrays, with matplotlib."""

from keras_dnn.plotting.activations import activations
from keras_dnn.plotting.calibration import reliability
from keras_dnn.plotting.charts import charts
from keras_dnn.plotting.comparisons import agreement, paired_differences
from keras_dnn.plotting.errors import error_parts
from keras_dnn.plotting.gaps import training_gaps
from keras_dnn.plotting.gradients import gradient_norms
from keras_dnn.plotting.images import uncertain_images
from keras_dnn.plotting.rejection import rejection
from keras_dnn.plotting.runtimes import candidates
from keras_dnn.plotting.schedules import range_test, schedule, training_steps
from keras_dnn.plotting.sparsity import zero_weights
from keras_dnn.plotting.trials import trials
from keras_dnn.plotting.uncertainty import (
    predicted_classes,
    predicted_numbers,
    uncertainties,
)

__all__ = [
    "activations",
    "agreement",
    "candidates",
    "charts",
    "error_parts",
    "gradient_norms",
    "paired_differences",
    "predicted_classes",
    "predicted_numbers",
    "range_test",
    "rejection",
    "reliability",
    "schedule",
    "training_gaps",
    "training_steps",
    "trials",
    "uncertain_images",
    "uncertainties",
    "zero_weights",
]
