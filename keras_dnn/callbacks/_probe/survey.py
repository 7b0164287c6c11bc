"""What is found out about a training step of the user's own before it is traced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_dnn._keras.layers import is_complete
from keras_dnn._tensorflow import tf
from keras_dnn.callbacks._probe.traced import Traced

if TYPE_CHECKING:
    from keras_dnn.callbacks._probe.tap import Tap


def build(tap: Tap, train_step: Callable[[Any], Any], data: Any) -> None:
    """Builds layers and optimizers that the step itself would build, if it has several.

    Probes must know all variables before the first hook is traced, and which optimizer
    trains which. A step that builds them one after the other is traced once for that
    alone; its graph is dropped, so nothing is trained.
    """
    tap.owners_are_known = _are_owners_known(tap)
    if len(tap.optimizers) < 2 or (tap.owners_are_known and is_complete(tap.model)):
        return
    # Elsewhere a step cannot be traced for that; rates may then be unknown at first.
    if tf.executing_eagerly() or tf.distribute.has_strategy():
        return
    specs = tf.nest.map_structure(
        lambda part: None if part is None else tf.type_spec_from_value(part), data
    )

    def surveyed(data: Any) -> Any:
        tap.tracing.step = Traced()
        return train_step(data)

    tap.tracing.surveyed = True
    try:
        # What is wrong with the step shows when it is traced for good.
        with contextlib.suppress(Exception):
            tf.function(surveyed, autograph=False).get_concrete_function(specs)
    finally:
        tap.tracing.surveyed = False
        tap.tracing.step = None


def is_running(tap: Tap) -> bool:
    """Whether the step is being traced for what it builds alone."""
    return getattr(tap.tracing, "surveyed", False)


def _are_owners_known(tap: Tap) -> bool:
    """Whether each variable has one optimizer that may train it."""
    if len(tap.optimizers) < 2:
        return True
    # Keras makes one for `compile` that a step of the user's own may never apply.
    waiting = [o for o in tap.optimizers if not o.optimizer.built]
    owned = [id(v) for optimizer in tap.optimizers for v in optimizer.variables()]
    return (
        all(optimizer.path == "optimizer" for optimizer in waiting)
        and len(owned) == len(set(owned))
        and set(owned).issuperset(map(id, tap.model.trainable_variables))
    )
