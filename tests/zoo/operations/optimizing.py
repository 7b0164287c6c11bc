"""The optimizers train as Keras's of the same name do."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dnn import optimizers
from tests.zoo.all_models import ZOO
from tests.zoo.battery import operation
from tests.zoo.subject import Subject, assert_close, own_randomness

GROUP = "training"
TOLERANCE = 1e-4
"""Of a weight, as a fraction of the largest of its variable."""

OURS = {
    "Adadelta": optimizers.Adadelta,
    "Adagrad": optimizers.AdaGrad,
    "Adam": optimizers.Adam,
    "AdamW": optimizers.AdamW,
    "Adamax": optimizers.AdaMax,
    "Nadam": optimizers.Nadam,
    "RMSprop": optimizers.RMSProp,
}
PAIRS = (
    *((getattr(keras.optimizers, name)(), ours()) for name, ours in OURS.items()),
    (keras.optimizers.SGD(0.1), optimizers.SGD(0.1)),
    (keras.optimizers.SGD(0.1, 0.9), optimizers.Momentum(0.1, 0.9)),
    (keras.optimizers.SGD(0.1, 0.9, nesterov=True), optimizers.Nesterov(0.1, 0.9)),
)


@operation(
    GROUP,
    *(f"optimizers.{type(ours).__name__}" for _, ours in PAIRS),
    needs=["trains"],
    called="optimizers",
)
def optimizers_train_alike(subject: Subject) -> None:
    turn = list(ZOO).index(subject.zoo.name)
    for i in (0, 1):
        assert_updates_alike(subject.model, *PAIRS[(2 * turn + i) % len(PAIRS)])


def assert_updates_alike(model: keras.Model, keras_rule: Any, ours: Any) -> None:
    """Two updates from the same random gradients."""
    shapes = [(v.shape, v.dtype) for v in model.trainable_variables]
    rng = np.random.default_rng(1)
    gradients = [
        [rng.normal(size=shape).astype(dtype) for shape, dtype in shapes]
        for _ in range(2)
    ]
    results = []
    for rule in (keras_rule, ours):
        with own_randomness():
            optimizer = type(rule).from_config(rule.get_config())
            variables = [
                keras.Variable(v.numpy(), dtype=v.dtype)
                for v in model.trainable_variables
            ]
        for step in gradients:
            optimizer.apply([tf.constant(g) for g in step], variables)
        results.append([v.numpy() for v in variables])
    assert_close(*results, TOLERANCE)
