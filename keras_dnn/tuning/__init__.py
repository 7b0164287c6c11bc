"""Finding good hyperparameters."""

from keras_dnn.tuning.range_test import RangeTest, find_learning_rate

__all__ = ["RangeTest", "find_learning_rate"]
