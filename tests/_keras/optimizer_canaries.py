"""The private names of Keras's optimizers, and what depends on how they behave."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import pytest
import tensorflow as tf


def ones(*shape):
    return tf.ones(shape)


def built(**arguments):
    """A built optimizer of Keras, and its two weights."""
    weights = [keras.Variable([0.0, 0.0], name=name) for name in ("kernel", "bias")]
    optimizer = keras.optimizers.SGD(1.0, **arguments)
    optimizer.build(weights)
    return optimizer, weights


def raises(error, function, *arguments):
    try:
        function(*arguments)
    except error:
        return True
    return False


class OptimizerCanary(NamedTuple):
    """A private name, what breaks without it, and whether it behaves as we need."""

    name: str
    promise: str
    works: Callable[[], bool]


OPTIMIZER_CANARIES: list[OptimizerCanary] = []


def canary(name, promise):
    def register(works):
        OPTIMIZER_CANARIES.append(OptimizerCanary(name, promise, works))
        return works

    return register


@canary(
    "_learning_rate",
    "a hyperparameter that is set in `fit`, and PerformanceScheduler's factor, would "
    "not be what the step reads",
)
def _():
    optimizer, _ = built()
    was = float(optimizer._learning_rate) == 1.0
    optimizer._learning_rate = keras.optimizers.schedules.CosineDecay(0.25, 9)
    return was and float(optimizer.learning_rate) == 0.25


@canary(
    "_get_current_learning_rate",
    "find_learning_rate and OneCycleScheduler would not move Keras's own optimizers",
)
def _():
    optimizer, (weight, _) = built()
    vars(optimizer)["_get_current_learning_rate"] = lambda: 0.25
    optimizer.apply([ones(2), ones(2)])
    return float(weight[0]) == -0.25


@canary(
    "_clip_gradients",
    "probes would see no gradients, and ours would be clipped on each replica alone",
)
def _():
    optimizer, weights = built(clipvalue=0.5)
    seen = []

    def clip(gradients):
        seen.append(len(gradients))
        return type(optimizer)._clip_gradients(optimizer, gradients)

    vars(optimizer)["_clip_gradients"] = clip
    optimizer.apply([ones(2), ones(2)])
    return seen == [2] and float(weights[0][0]) == -0.5


@canary(
    "_trainable_variables",
    "a step without variables and weight decay after loading would find no weights",
)
def _():
    optimizer, weights = built()
    return all(
        a is b for a, b in zip(optimizer._trainable_variables, weights, strict=True)
    )


@canary(
    "_iterations",
    "schedules would not count updates under gradient accumulation, and a skipped "
    "update would count",
)
def _():
    optimizer, _ = built(gradient_accumulation_steps=2)
    for _ in range(3):
        optimizer.apply([ones(2), ones(2)])
    return int(optimizer._iterations) == 3 and int(optimizer.iterations) == 1


@canary(
    "_accumulated_gradients",
    "gradients would be clipped before they are averaged over an accumulation",
)
def _():
    optimizer, _ = built(gradient_accumulation_steps=2)
    optimizer.apply([ones(2), 2 * ones(2)])
    return [float(a[0]) for a in optimizer._accumulated_gradients] == [1.0, 2.0]


@canary(
    "_model_variables_moving_average",
    "`use_ema` would not average the constrained weights once an update",
)
def _():
    optimizer, _ = built(use_ema=True)
    optimizer.apply([ones(2), 2 * ones(2)])
    averages = optimizer._model_variables_moving_average
    return [float(a[0]) for a in averages] == [-1.0, -2.0]


@canary(
    "_overwrite_model_variables_with_average_value",
    "averages would be written to the wrong weights of a model with frozen layers",
)
def _():
    class Noting(keras.optimizers.SGD):
        def _overwrite_model_variables_with_average_value(self, variables):
            self.noted = variables

    optimizer = Noting(use_ema=True)
    optimizer.finalize_variable_values(["weights"])
    return optimizer.noted == ["weights"]


@canary(
    "_distribution_strategy",
    "slots would not lie beside their weights, and replicas would not be one device",
)
def _():
    return built()[0]._distribution_strategy is tf.distribute.get_strategy()


@canary(
    "_get_variable_index",
    "a weight would get the slots, the decay or the constraint of another one",
)
def _():
    optimizer, weights = built()
    positions = [optimizer._get_variable_index(w) for w in weights]
    native = [optimizer._get_variable_index(w.value) for w in weights]
    return positions == native == [0, 1]


@canary(
    "_check_variables_are_known",
    "an unknown variable would be an error from inside TensorFlow",
)
def _():
    optimizer, weights = built()
    optimizer._check_variables_are_known(weights)
    return raises(
        ValueError, optimizer._check_variables_are_known, [keras.Variable(1.0)]
    )


@canary("_filter_empty_gradients", "a weight without gradient would not stay as it is")
def _():
    optimizer, weights = built()
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        gradients, kept = optimizer._filter_empty_gradients([None, ones(2)], weights)
    return len(gradients) == 1 and kept[0] is weights[1]


@canary(
    "_overwrite_variables_directly_with_gradients",
    "the scales of float8 would be trained instead of set",
)
def _():
    optimizer, weights = built()
    weights[0].overwrite_with_gradient = True
    _, kept = optimizer._overwrite_variables_directly_with_gradients(
        [7 * ones(2), ones(2)], weights
    )
    return float(weights[0][0]) == 7.0 and len(kept) == 1 and kept[0] is weights[1]


@canary("_use_weight_decay", "`exclude_from_weight_decay` would not exclude a variable")
def _():
    weights = [keras.Variable(1.0, name=name) for name in ("kernel", "bias")]
    optimizer = keras.optimizers.SGD()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return [optimizer._use_weight_decay(w) for w in weights] == [True, False]


@canary(
    "_untrack_variable",
    "a number that a schedule replaced would still be saved with the optimizer",
)
def _():
    optimizer, _ = built()
    extra = optimizer.add_variable(())
    before = len(optimizer.variables)
    optimizer._untrack_variable(extra)
    return len(optimizer.variables) == before - 1


@canary(
    "tf.__internal__.distribute.interim.maybe_merge_call",
    "replicas could not make one update together",
)
def _():
    strategy, seen = tf.distribute.get_strategy(), []
    tf.__internal__.distribute.interim.maybe_merge_call(
        lambda *given: seen.append(given), strategy, "state"
    )
    return seen == [(strategy, "state")]
