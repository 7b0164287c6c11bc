"""Pictures of plain arrays, with matplotlib."""

from keras_dnn.plotting.activations import activations
from keras_dnn.plotting.calibration import reliability
from keras_dnn.plotting.charts import charts
from keras_dnn.plotting.gaps import training_gaps
from keras_dnn.plotting.gradients import gradient_norms
from keras_dnn.plotting.images import uncertain_images
from keras_dnn.plotting.rejection import rejection
from keras_dnn.plotting.schedules import range_test, schedule, training_steps
from keras_dnn.plotting.uncertainty import (
    predicted_classes,
    predicted_numbers,
    uncertainties,
)

__all__ = [
    "activations",
    "charts",
    "gradient_norms",
    "predicted_classes",
    "predicted_numbers",
    "range_test",
    "rejection",
    "reliability",
    "schedule",
    "training_gaps",
    "training_steps",
    "uncertain_images",
    "uncertainties",
]
