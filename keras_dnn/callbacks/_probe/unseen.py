"""Why a probe has not seen the losses or the updates of a training step."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from keras_dnn.callbacks._probe.tap import Tap
    from keras_dnn.callbacks._probe.traced import Traced


def no_update(model: keras.Model, traced: Traced) -> str | None:
    """Why no update of the weights was seen, and what to do; `None` if one was."""
    if traced.applied:
        return None
    step = f"the train_step of {type(model).__name__}"
    if not model.trainable_variables:
        return "no update of the weights: the model has no trainable weights."
    if traced.hidden:
        return (
            f"no update of the weights: {step} applies its optimizer inside a "
            "tf.function. Remove that decorator; fit compiles the whole step."
        )
    return (
        f"no update of the weights: {step} applies no optimizer that was found. Keep "
        "each one as an attribute of the model, such as model.optimizer, and apply it "
        "outside of any tf.function of your own."
    )


def no_loss(model: keras.Model, traced: Traced) -> str | None:
    """Why no loss was seen, and what to do; `None` if one was."""
    if traced.losses:
        return None
    step = f"the train_step of {type(model).__name__}"
    if traced.hidden:
        return (
            f"no loss: {step} computes it inside a tf.function. Remove that decorator; "
            "fit compiles the whole step."
        )
    return (
        f"no loss: {step} asks no tf.GradientTape for a gradient by weights. Let it "
        "call tape.gradient(loss, model.trainable_variables), outside of any "
        "tf.function of your own."
    )


def after_epoch(tap: Tap) -> list[str]:
    """What the epoch did without the hooks of probes, and what to do."""
    if not tap.traces and not tap.updates_traced:
        name = type(tap.model).__name__
        reason = (
            f"no step: the make_train_function of {name} does not call "
            "self.train_step. Remove it, or let it call that method."
        )
        return [reason]
    return [
        "that the compiled training step does not use the learning_rate that was set "
        f"on {type(part.optimizer).__name__} during fit. A schedule takes effect when "
        "the step is compiled again: set it before fit, or call "
        "model.make_train_function(force=True) after setting it."
        for part in tap.parts
        if part.has_stale_rate
    ]


def warn(names: list[str], reason: str) -> None:
    """Warns that callbacks of these names have seen nothing of something."""
    unique = list(dict.fromkeys(names))
    listed = " and ".join(filter(None, [", ".join(unique[:-1]), unique[-1]]))
    verb = "sees" if len(unique) == 1 else "see"
    warnings.warn(f"{listed} {verb} {reason}", stacklevel=2)
