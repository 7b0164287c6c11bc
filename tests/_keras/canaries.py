"""The private names of Keras and TensorFlow that this package relies on.

Those of optimizers are in `optimizer_canaries.py`.
Each has an object that should have it, and the promise that breaks without it.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.eager import context


class Canary(NamedTuple):
    """Where a private name is found, and what depends on it."""

    owner: Any
    promise: str


def _functional():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(2)(x))


def _sequential():
    return keras.Sequential([keras.Input((4,)), layers.Dense(2)])


def _fitted():
    model = _sequential()
    model.compile("sgd", "mse", loss_weights=[1.0])
    model.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0)
    return model


def _validating():
    """A model in the middle of a `fit`, after a validation."""
    seen = []
    model = _sequential()
    model.compile("sgd", "mse")
    data = np.ones((2, 4)), np.ones((2, 2))
    see = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            SimpleNamespace(_eval_epoch_iterator=model._eval_epoch_iterator)
        )
    )
    model.fit(*data, validation_data=data, verbose=0, callbacks=[see])
    return seen[0]


def _optimizer():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([keras.Variable(1.0)])
    return optimizer


def _seeded_context():
    before = context.context()._seed
    tf.random.set_seed(1)
    try:
        return context.context()
    finally:
        tf.random.set_seed(before)


GRAPH = "folding, rebuild, sampling and pruning could not walk a model"
COPY = "rebuild could not copy a layer of one's own as the object that it is"
DATA = "generators and loaders of PyTorch could not be read"
STATE = "what a check or a sweep changes would not be put back"

CANARIES = {
    # A model's graph
    "_functional": Canary(_sequential, GRAPH),
    "_inputs_struct": Canary(_functional, GRAPH),
    "_keras_history": Canary(lambda: keras.Input((4,)), GRAPH),
    "_nodes_by_depth": Canary(_functional, GRAPH),
    "_outputs_struct": Canary(_functional, GRAPH),
    "_standardize_inputs": Canary(_functional, "models could not be sampled from"),
    # Layers
    "_call_has_training_arg": Canary(lambda: layers.Dropout(0.5), GRAPH),
    "_compute_dtype": Canary(
        lambda: keras.DTypePolicy("float32"), "folding could not be measured in float64"
    ),
    "_autocast": Canary(lambda: keras.Variable(1.0), COPY),
    "_compile_config": Canary(_fitted, COPY),
    "_compiled_trainable_state": Canary(_fitted, COPY),
    "_dtype_policy": Canary(
        lambda: layers.Dense(2), "folding could not be measured in float64"
    ),
    "_flatten_layers": Canary(lambda: layers.Dense(2), GRAPH),
    "_get_noise_shape": Canary(
        lambda: layers.SpatialDropout2D(0.5),
        "MCSpatialDropout2D could not drop whole channels",
    ),
    "_inbound_nodes": Canary(lambda: layers.Dense(2), COPY),
    "_layers": Canary(lambda: layers.Dense(2), COPY),
    "_loss_ids": Canary(
        lambda: layers.Dense(2), "a float64 view of a layer would share its penalties"
    ),
    "_losses": Canary(
        lambda: layers.Dense(2), "a float64 view of a layer would share its penalties"
    ),
    "_losses_override": Canary(lambda: layers.Dense(2), COPY),
    "_non_trainable_variables": Canary(layers.BatchNormalization, COPY),
    "_outbound_nodes": Canary(lambda: layers.Dense(2), COPY),
    "_path": Canary(lambda: keras.Variable(1.0), COPY),
    "_seed_generators": Canary(lambda: layers.Dropout(0.5), STATE),
    "_trainable_variables": Canary(
        _optimizer, "MaxNorm, pruning and GradientNorms would miss frozen weights"
    ),
    # Losses and the step
    "_compile_metrics": Canary(_fitted, COPY),
    "_compile_loss": Canary(_fitted, "check_gradients would ignore loss_weights"),
    "_compute_loss": Canary(
        _fitted, "a compute_loss that knows no training could not be called"
    ),
    "_direction": Canary(
        keras.metrics.BinaryAccuracy,
        "PerformanceScheduler could not tell whether a metric should go up",
    ),
    "_eval_epoch_iterator": Canary(
        _validating, "Doctor could not compare validation with a guess"
    ),
    "_fn_kwargs": Canary(
        lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "preflight could not tell logits from probabilities",
    ),
    "_initial_epoch": Canary(_fitted, STATE),
    # TensorFlow's seeds of operations
    "_rng": Canary(_seeded_context, STATE),
    "_seed": Canary(_seeded_context, STATE),
    "_loss_tracker": Canary(_fitted, "pretraining.gan could not report its loss"),
    "_user_loss_weights": Canary(
        lambda: _fitted()._compile_loss, "check_gradients would ignore loss_weights"
    ),
}

PATHS = {
    "keras.src.applications.convnext.LayerScale": "ConvNeXt could not be folded",
    "keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE": (
        "the error of folding would be measured in float32 on JAX and PyTorch"
    ),
    "keras.src.backend.common.global_state.get_global_attribute": STATE,
    "keras.src.backend.common.global_state.set_global_attribute": STATE,
    "keras.src.backend.common.masking.get_keras_mask": (
        "HierarchicalCrossentropy would ignore masks"
    ),
    "keras.src.backend.common.masking.set_keras_mask": (
        "mc_predict would lose the masks of texts where it cuts a model in two"
    ),
    "keras.src.backend.common.tensor_attributes.get_tensor_attr": (
        "HierarchicalCrossentropy would compute all classes"
    ),
    "keras.src.backend.common.tensor_attributes.set_tensor_attr": (
        "HierarchicalCrossentropy would compute all classes"
    ),
    "keras.src.backend.random": "mc_predict could not draw its own masks",
    "keras.src.layers.core.dense.Dense": (
        "is_keras_layer would not know Keras's layers, and coherent masks be slower"
    ),
    "keras.src.losses.loss.reduce_weighted_values": (
        "HierarchicalCrossentropy would not reduce as Keras's losses do"
    ),
    "keras.src.models.Functional": GRAPH,
    "keras.src.trainers.data_adapters.array_data_adapter.ArrayDataAdapter": DATA,
    "keras.src.trainers.data_adapters.get_data_adapter": DATA,
    "keras.src.trainers.data_adapters.is_grain_dataset": DATA,
    "keras.src.trainers.data_adapters.is_torch_dataloader": DATA,
    "keras.src.trainers.data_adapters.tf_dataset_adapter.TFDatasetAdapter": DATA,
    "keras.src.utils.tracking.Tracker": COPY,
}
"""Modules and functions that are not part of Keras's public interface."""
