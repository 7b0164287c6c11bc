"""Layers that stay random at inference."""

from keras_dnn.layers.mc_dropout import MCDropout

__all__ = ["MCDropout"]
