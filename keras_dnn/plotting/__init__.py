"""Pictures of plain arrays, with matplotlib."""

from keras_dnn.plotting.gradients import gradient_norms
from keras_dnn.plotting.schedules import schedule
from keras_dnn.plotting.uncertainty import predicted_classes, predicted_numbers

__all__ = ["gradient_norms", "predicted_classes", "predicted_numbers", "schedule"]
