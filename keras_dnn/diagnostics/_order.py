"""The checks, imported in the order in which they are made: causes first."""

# isort: off
from keras_dnn.diagnostics import _data_checks
from keras_dnn.diagnostics import _structure_checks
from keras_dnn.diagnostics import _signal_checks
from keras_dnn.diagnostics import _learning_checks

__all__ = ["_data_checks", "_learning_checks", "_signal_checks", "_structure_checks"]
