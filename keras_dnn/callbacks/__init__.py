"""Callbacks that see into training and steer it."""

from keras_dnn.callbacks.gradient_norms import GradientNorms

__all__ = ["GradientNorms"]
