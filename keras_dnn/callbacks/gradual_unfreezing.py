"""Transfer learning from the top down: layers are unfrozen one group at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import keras

from keras_dnn import _arguments
from keras_dnn._keras.optimizers import innermost, variables_of
from keras_dnn._tensorflow import refuse_backend
from keras_dnn.models._weighted_layers import (
    containers,
    set_trainable,
    weighted_layers,
)
from keras_dnn.optimizers import Optimizer

Group: TypeAlias = int | Literal["all"] | Sequence[str | keras.layers.Layer]


class GradualUnfreezing(keras.callbacks.Callback):
    """Unfreezes more and more layers as epochs pass, from the top down.

    When training begins, all layers with weights are frozen, except those that the
    schedule names for that epoch; at the beginning of each later epoch in the schedule,
    more are unfrozen. A frozen batch norm is in inference mode: it neither uses nor
    updates the statistics of the batch. Once unfrozen it does both, also one inside a
    layer of your own. Layers of nested models count one by one; a layer that contains
    others (an attention layer, a bidirectional one) counts as one.

    The optimizer is built for all the weights from the start, so that nothing has to be
    recompiled and no state is lost: weights that train already keep their momentum. It
    must not have trained a smaller part of the model before; compile the model again if
    it has. After `fit` the layers stay as the last unfreezing left them.

    Args:
        schedule: for each epoch (counted from 0) in which something changes, what
            trains from then on: the number of topmost layers with weights, `"all"`, or
            a list of names or layers, which are added to those of earlier epochs.

    Raises:
        ValueError: if the schedule is empty, an epoch or a number of layers is not an
            integer of at least 0, or a later number is smaller than an earlier one; in
            `fit`, if a layer is not in the model, the model is not built, its optimizer
            was built without some of the layers, or it is a `MultiOptimizer` or one of
            Keras's own with `use_ema`.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.callbacks import GradualUnfreezing
        >>> model = keras.Sequential(
        ...     [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)]
        ... )
        >>> before = model.layers[0].get_weights()[0]
        >>> model.compile("adam", "mse")
        >>> x = np.ones((8, 3))
        >>> unfreezing = GradualUnfreezing({0: 1, 2: "all"})
        >>> history = model.fit(
        ...     x, x.sum(axis=1), epochs=2, verbose=0, callbacks=[unfreezing]
        ... )
        >>> bool((model.layers[0].get_weights()[0] == before).all())
        True

    Reference:
        J. Howard and S. Ruder, "Universal Language Model Fine-tuning for Text
        Classification", 2018.
    """

    def __init__(self, schedule: Mapping[int, Group]) -> None:
        super().__init__()
        if not isinstance(schedule, Mapping) or not schedule:
            raise ValueError(
                "schedule must be a dict from epochs to layers, such as {0: 1, 3: "
                f"'all'}}. Received: schedule={schedule!r}"
            )
        self.schedule: dict[int, Group] = {}
        for epoch in schedule:
            _arguments.count("an epoch in schedule", epoch, least=0)
        earlier = 0
        for epoch in sorted(schedule):
            group = schedule[epoch]
            if isinstance(group, str):
                _arguments.choice("a group in schedule", group, ("all",))
            elif isinstance(group, int):
                earlier = _arguments.count("a count in schedule", group, least=earlier)
            else:
                group = _arguments.several("a group in schedule", group)
            self.schedule[epoch] = group

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Builds the optimizer for all the weights that will ever train."""
        refuse_backend(
            "jax",
            "keras_dnn.callbacks.GradualUnfreezing",
            "where an optimizer needs a gradient of every variable it was built on",
        )
        if not self.model.built:
            raise ValueError(
                "GradualUnfreezing needs a model that is built: start it with "
                "keras.Input, or call model.build(input_shape). "
                f"Received: model={self.model.name!r}"
            )
        optimizer = innermost(self.model)
        if hasattr(optimizer, "optimizers"):
            raise ValueError(
                "GradualUnfreezing does not work with a MultiOptimizer, which needs a "
                f"gradient of every variable. Received: {optimizer}"
            )
        if optimizer.use_ema and not isinstance(optimizer, Optimizer):
            raise ValueError(
                "GradualUnfreezing does not work with use_ema of Keras's optimizers, "
                "which fail at the end of fit while a layer is frozen. Use the one of "
                f"the same name in keras_dnn.optimizers. Received: {optimizer}"
            )
        self._layers = weighted_layers(self.model)
        self._train(max(self.schedule))
        self._build_optimizer()
        # Until the first epoch begins, which may be a later one.
        self._train(-1)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Unfreezes what this epoch adds."""
        if self._training != self._unfrozen(epoch):
            self._train(epoch)
            self.model.make_train_function(force=True)

    def _build_optimizer(self) -> None:
        optimizer = self.model.optimizer
        variables = self.model.trainable_variables
        if not optimizer.built:
            with self.model.distribute_strategy.scope():
                optimizer.build(variables)
        known = set(map(id, variables_of(innermost(optimizer))))
        unknown = [v.path for v in variables if id(v) not in known]
        if unknown:
            raise ValueError(
                "The optimizer was built without some of the layers in schedule. "
                "Compile the model again before fit. "
                f"Received: schedule={self.schedule}, without {unknown}"
            )

    def _train(self, epoch: int) -> None:
        """Freezes or unfreezes each layer, as the schedule says for this epoch."""
        self._training = self._unfrozen(epoch)
        # Layers count as frozen in a frozen model, and freezing it freezes them all.
        for container in containers(self.model):
            set_trainable(container, True)
        for layer in self._layers:
            set_trainable(layer, id(layer) in self._training)

    def _unfrozen(self, epoch: int) -> set[int]:
        chosen: set[int] = set()
        for begin, group in self.schedule.items():
            if begin <= epoch:
                chosen.update(id(layer) for layer in self._group(group))
        return chosen

    def _group(self, group: Group) -> list[keras.layers.Layer]:
        if group == "all":
            return self._layers
        if isinstance(group, int):
            frozen = max(len(self._layers) - group, 0)
            return self._layers[frozen:]
        return [layer for choice in group for layer in self._named(choice)]

    def _named(self, choice: str | keras.layers.Layer) -> list[keras.layers.Layer]:
        """The layer of this name, or those of the nested model of this name."""
        for container in containers(self.model):
            if choice is container or choice == container.name:
                return weighted_layers(container)
        found = [
            layer for layer in self._layers if choice is layer or choice == layer.name
        ]
        if not found:
            names = [layer.name for layer in self._layers]
            raise ValueError(
                "schedule must name layers of the model with weights, some of "
                f"{names}. Received: {choice!r}"
            )
        return found
