r"""Discriminative rates: the lower a layer, the smaller its learning rate.

If $\eta$ is the learning rate of the topmost group of layers, that of the $k$-th group
below it is $\eta f^k$.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

import keras

from keras_dnn import _arguments
from keras_dnn._keras.layers import sublayers_of
from keras_dnn._keras.multi_optimizer import is_multi_optimizer, multi_optimizer
from keras_dnn.models._weighted_layers import weighted_layers
from keras_dnn.optimizers.schedules import Scaled

Groups: TypeAlias = Sequence[Sequence[str | keras.layers.Layer]]
"""For each group the names of its layers, or the layers."""


def discriminative_rates(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    factor: float,
    groups: Groups | None = None,
) -> keras.optimizers.Optimizer:
    r"""Returns an optimizer with a lower learning rate for each lower layer.

    The lower layers of a reused network hold general features and should change little;
    the upper ones must learn more. If $\eta$ is the rate of the given optimizer and $f$
    the factor, the topmost layer learns at $\eta$ and the $k$-th below it at
    $\eta f^k$. Only layers that are trainable now count: freeze layers first, and
    after `unfreeze` make a new optimizer and compile again.

    Each group has a copy of the optimizer, with its own state and schedule. A
    `global_clipnorm` applies to each group separately, not to the whole model.

    Args:
        model: a built model.
        optimizer: a new optimizer of Keras or `keras_dnn.optimizers`, with the learning
            rate of the topmost group: a number or a schedule.
        factor: the rate of a group divided by that of the group above it; greater than
            0. Howard and Ruder take 1 / 2.6.
        groups: lists of names or layers that share a rate, the lowest group first; a
            nested model stands for all its layers. By default each layer is a group.

    Returns:
        A `keras.optimizers.MultiOptimizer` for `compile`; before Keras 3.15, which has
        none, an optimizer that does the same.

    Raises:
        ValueError: if an argument is out of range, the model is not built or has
            nothing to train, a group names no trainable layer, a trainable layer is in
            no group or in two, or layers of two groups have the same name.

    Example:
        >>> import keras
        >>> from keras_dnn.models import discriminative_rates
        >>> dense = keras.layers.Dense
        >>> model = keras.Sequential([keras.Input((9,)), dense(8), dense(8), dense(2)])
        >>> adam = keras.optimizers.Adam(0.01)
        >>> optimizer = discriminative_rates(model, adam, factor=0.1)
        >>> [f"{float(each.learning_rate):g}" for each in optimizer.optimizers]
        ['0.0001', '0.001', '0.01']
        >>> model.compile(optimizer, "mse")

    Reference:
        J. Howard and S. Ruder, "Universal Language Model Fine-tuning for Text
        Classification", 2018.
    """
    factor = _arguments.number("factor", factor, bounds="()")
    _check_optimizer(optimizer)
    training = [layer for layer in weighted_layers(model) if layer.trainable_weights]
    if not training:
        raise ValueError(
            "model must be built and have trainable layers. "
            f"Received: model={model.name!r}"
        )
    chosen = (
        [[layer] for layer in training]
        if groups is None
        else _members(model, training, groups)
    )
    # The part of a variable's path before the layer's name changes with saving.
    patterns = [
        "(.*/)?(" + "|".join(re.escape(layer.name) for layer in group) + ")/.*"
        for group in chosen
    ]
    _check_patterns(patterns, chosen)
    copies = [_with_rate(optimizer, factor**k) for k in reversed(range(len(chosen)))]
    # One entry for each group: a copy in two entries would become two on loading.
    optimizers = dict(zip(patterns, copies, strict=True))
    return multi_optimizer(copies[-1], optimizers)


def _check_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    usual = isinstance(optimizer, keras.optimizers.Optimizer)
    several = is_multi_optimizer(optimizer) or isinstance(
        optimizer, keras.optimizers.LossScaleOptimizer
    )
    if not usual or several or optimizer.built:
        raise ValueError(
            "optimizer must be a new optimizer with one learning rate. "
            f"Received: optimizer={optimizer!r}"
        )


def _members(
    model: keras.Model, training: list[keras.layers.Layer], groups: Groups
) -> list[list[keras.layers.Layer]]:
    """The trainable layers of each group."""
    chosen = []
    for group in _arguments.several("groups", groups):
        named: set[int] = set()
        for choice in _arguments.several("a group in groups", group):
            inside = {id(layer) for layer in sublayers_of(model, choice)}
            members = {id(layer) for layer in training if id(layer) in inside}
            if not members:
                raise ValueError(
                    "groups must name trainable layers of the model, of "
                    f"{[layer.name for layer in training]}. Received: {choice!r}"
                )
            named |= members
        chosen.append([layer for layer in training if id(layer) in named])
    for layer in training:
        count = sum(any(layer is part for part in group) for group in chosen)
        if count != 1:
            raise ValueError(
                "groups must hold each trainable layer once, and "
                f"{layer.name} is there {count} times. Received: groups={groups!r}"
            )
    return chosen


def _check_patterns(
    patterns: list[str], chosen: list[list[keras.layers.Layer]]
) -> None:
    """A `MultiOptimizer` finds the group of a variable by its path."""
    for own, group in zip(patterns, chosen, strict=True):
        for layer in group:
            for variable in layer.trainable_weights:
                matching = [p for p in patterns if re.fullmatch(p, variable.path)]
                if matching != [own]:
                    raise ValueError(
                        "model must have layers whose names identify their group; "
                        f"{layer.name!r}, with the variable {variable.path!r}, does "
                        "not. Give its layers other names. "
                        f"Received: a model with layers {_names(chosen)}"
                    )


def _names(chosen: list[list[keras.layers.Layer]]) -> list[list[str]]:
    return [[layer.name for layer in group] for group in chosen]


def _with_rate(
    optimizer: keras.optimizers.Optimizer, factor: float
) -> keras.optimizers.Optimizer:
    config = optimizer.get_config()
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        schedule = keras.optimizers.schedules.deserialize(rate)
        rate = keras.optimizers.schedules.serialize(Scaled(schedule, factor))
    else:
        rate = float(rate) * factor
    return type(optimizer).from_config({**config, "learning_rate": rate})
