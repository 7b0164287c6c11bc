"""Training on several workers: Keras's `fit` over `tf.distribute`."""

from keras_dnn.distribution.launcher import launch
from keras_dnn.distribution.multi_worker_strategy import MultiWorkerStrategy
from keras_dnn.distribution.save_on_chief import save_on_chief
from keras_dnn.distribution.step_timeout import StepTimeout

__all__ = ["MultiWorkerStrategy", "StepTimeout", "launch", "save_on_chief"]
