r"""Discriminative rates: the lower a layer, the smaller its learning rate.

If $\eta$ is the learning rate of the topmost group of layers, that of the $k$-th group
below it is $\eta f^k$.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
            no group or in two, or weights of two groups have the same path.

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
        [[layer] for layer in _with_weights_of_their_own(training)]
        if groups is None
        else _members(model, training, groups)
    )
    patterns = _patterns(chosen)
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


def _with_weights_of_their_own(
    layers: list[keras.layers.Layer],
) -> Iterator[keras.layers.Layer]:
    """Those that train something that no layer before them does."""
    seen: set[int] = set()
    for layer in layers:
        own = {id(variable) for variable in layer.trainable_weights}
        if own - seen:
            yield layer
        seen |= own


def _patterns(chosen: list[list[keras.layers.Layer]]) -> list[str]:
    """A regular expression for each group, which the paths of its variables match.

    A weight that layers of several groups share belongs to the lowest.
    """
    group_of: dict[int, int] = {}
    variables: dict[int, keras.Variable] = {}
    for number, group in enumerate(chosen):
        for layer in group:
            for variable in layer.trainable_weights:
                group_of.setdefault(id(variable), number)
                variables[id(variable)] = variable
    patterns = []
    for number, group in enumerate(chosen):
        others = [v.path for key, v in variables.items() if group_of[key] != number]
        endings: list[str] = []
        for layer in group:
            paths = [
                variable.path
                for variable in layer.trainable_weights
                if group_of[id(variable)] == number
            ]
            endings += _endings(layer.name, paths, others)
        # The beginning of a path changes with saving.
        patterns.append("(.*/)?(" + "|".join(dict.fromkeys(endings)) + ")")
    return patterns


def _endings(name: str, paths: list[str], others: list[str]) -> list[str]:
    """Regular expressions of endings that paths have and others do not.

    That of the layer's name is taken if it is one, since it is short and also fits
    weights that the layer gets later.
    """
    by_name = re.escape(name) + "/.*"

    def fits(ending: str, path: str) -> bool:
        return re.fullmatch(f"(.*/)?({ending})", path) is not None

    if all(fits(by_name, path) for path in paths) and not any(
        fits(by_name, path) for path in others
    ):
        return [by_name]
    found = []
    for path in paths:
        parts = path.split("/")
        endings = [re.escape("/".join(parts[-n:])) for n in range(1, len(parts) + 1)]
        unique = [e for e in endings if not any(fits(e, other) for other in others)]
        if not unique:
            raise ValueError(
                "model must have weights whose paths identify their group; two layers "
                f"of different groups have one of the path {path!r}. Give one of the "
                f"models that hold them another name. Received: a layer {name!r}"
            )
        found.append(unique[0])
    return found


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
