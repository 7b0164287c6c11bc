"""What is found out about a training step of the user's own before it is traced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from keras_dnn._keras.layers import sublayers
from keras_dnn._tensorflow import tf

if TYPE_CHECKING:
    from keras_dnn.callbacks._probe.tap import Tap


def build(tap: Tap, train_step: Callable[[Any], Any], data: Any) -> None:
    """Builds layers and optimizers that the step itself would build, if it has several.

    Probes must know all variables before the first hook is traced, and which optimizer
    trains which. A step that builds them one after the other is traced once for that
    alone; its graph is dropped, so nothing is trained.
    """
    if tf.executing_eagerly() or tf.distribute.has_strategy() or not _is_needed(tap):
        return
    specs = tf.nest.map_structure(
        lambda part: None if part is None else tf.type_spec_from_value(part), data
    )
    tap.tracing.surveyed = True
    try:
        # What is wrong with the step shows when it is traced for good.
        with contextlib.suppress(Exception):
            tf.function(train_step, autograph=False).get_concrete_function(specs)
    finally:
        tap.tracing.surveyed = False


def is_running(tap: Tap) -> bool:
    """Whether the step is being traced for what it builds alone."""
    return getattr(tap.tracing, "surveyed", False)


def _is_needed(tap: Tap) -> bool:
    unbuilt = [o for o in tap.optimizers if not o.optimizer.built]
    if len(tap.optimizers) < 2 or not unbuilt:
        return False
    # One that is never applied stays as it is.
    return len(unbuilt) > 1 or not is_complete(tap.model)


def is_complete(model: keras.Model) -> bool:
    """Whether all layers have their weights; a model without `call` has no others."""
    if model.built:
        return True
    parts = [part for part in sublayers(model) if part is not model]
    return bool(parts) and all(part.built for part in parts)
