"""Finding good hyperparameters and comparing the models trained with them."""

from keras_dnn.tuning._range_test_result import RangeTest
from keras_dnn.tuning.borders import Border, BorderAlarm, border_alarm
from keras_dnn.tuning.dimensions import Dimension, log_uniform, one_minus_log_uniform
from keras_dnn.tuning.narrowing import narrow
from keras_dnn.tuning.prediction_comparison import (
    PredictionComparison,
    compare_predictions,
)
from keras_dnn.tuning.range_test import find_learning_rate
from keras_dnn.tuning.score_comparison import ScoreComparison, compare

__all__ = [
    "Border",
    "BorderAlarm",
    "Dimension",
    "PredictionComparison",
    "RangeTest",
    "ScoreComparison",
    "border_alarm",
    "compare",
    "compare_predictions",
    "find_learning_rate",
    "log_uniform",
    "narrow",
    "one_minus_log_uniform",
]
