"""Training on several workers: Keras's `fit` over `tf.distribute`."""

from keras_dnn.distribution.launcher import launch
from keras_dnn.distribution.multi_worker_strategy import MultiWorkerStrategy

__all__ = ["MultiWorkerStrategy", "launch"]
