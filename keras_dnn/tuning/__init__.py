"""Finding good hyperparameters, and comparing what they bring."""

from keras_dnn.tuning.prediction_comparison import (
    PredictionComparison,
    compare_predictions,
)
from keras_dnn.tuning.range_test import RangeTest, find_learning_rate
from keras_dnn.tuning.score_comparison import ScoreComparison, compare

__all__ = [
    "PredictionComparison",
    "RangeTest",
    "ScoreComparison",
    "compare",
    "compare_predictions",
    "find_learning_rate",
]
