"""The optimizers train as Keras's of the same name do."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dnn import optimizers
from tests.zoo.all_models import ZOO
from tests.zoo.battery import operation
from tests.zoo.operations.watching import plain
from tests.zoo.subject import Subject, assert_close, optimizers_of, own_randomness

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


def twin(optimizer: Any) -> Any:
    """The optimizer of this package with the rule and the settings of one of Keras."""
    config = optimizer.get_config()
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return type(optimizer)(twin(optimizer.inner_optimizer))
    name = type(optimizer).__name__
    if name == "SGD":
        momentum, nesterov = config.pop("momentum"), config.pop("nesterov")
        if not momentum:
            return optimizers.SGD.from_config(config)
        rule = optimizers.Nesterov if nesterov else optimizers.Momentum
        return rule.from_config(config | {"momentum": momentum})
    return OURS[name].from_config(config) if name in OURS else None


def with_twins(model: keras.Model) -> bool:
    """Gives the model optimizers of this package where it has Keras's."""
    found = False
    for name, value in list(vars(model).items()):
        if isinstance(value, keras.optimizers.Optimizer):
            ours = twin(value)
            if ours is not None:
                setattr(model, name, ours)
                found = True
    return found


def without_sparse_gradients(optimizer: Any) -> None:
    """Keras's own rules square the rows of an embedding before they are summed."""
    apply = optimizer.apply

    def dense(self: Any, grads: Sequence[Any], variables: Any = None) -> None:
        apply([g if g is None else tf.convert_to_tensor(g) for g in grads], variables)

    optimizer.apply = types.MethodType(dense, optimizer)


@operation(
    GROUP,
    *(f"optimizers.{type(ours).__name__}" for _, ours in PAIRS),
    needs=["trains"],
    called="optimizers",
)
def optimizers_train_alike(subject: Subject) -> None:
    model = subject.fresh()
    if with_twins(model):
        subject.fit(model)
        found = [v.numpy() for v in model.variables]
        assert_close(found, trained_by_keras(subject), TOLERANCE)
    turn = list(ZOO).index(subject.zoo.name)
    for i in (0, 1):
        assert_updates_alike(subject.model, *PAIRS[(2 * turn + i) % len(PAIRS)])


def trained_by_keras(subject: Subject) -> list[np.ndarray]:
    embeddings = [
        v for v in subject.model.trainable_variables if v.path.endswith("embeddings")
    ]
    if not embeddings:
        state: list[np.ndarray] = plain(subject).state
        return state[: len(subject.model.variables)]
    model = subject.fresh()
    for optimizer in optimizers_of(model):
        without_sparse_gradients(optimizer)
    subject.fit(model)
    return [v.numpy() for v in model.variables]


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
