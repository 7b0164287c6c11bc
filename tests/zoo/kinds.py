"""Kinds of models, told by what Keras knows of them."""

from __future__ import annotations

import keras
import tensorflow as tf

from tests.zoo.subject import Subject, layers_in, preprocesses


def without_graph(subject: Subject) -> bool:
    """Subclassed, with a `call` or a `train_step` of its own: no graph is known."""
    return getattr(subject.model, "inputs", None) is None


def without_call(subject: Subject) -> bool:
    """Only its steps call its parts."""
    return type(subject.model).call is keras.Model.call


def several_tensors(subject: Subject) -> bool:
    """Several inputs or outputs."""
    model = subject.model
    return not without_graph(subject) and len(model.inputs) + len(model.outputs) != 2


def no_numbers(subject: Subject) -> bool:
    """The input is text, whole numbers or sparse."""
    if without_graph(subject) or several_tensors(subject):
        return False
    (given,) = subject.model.inputs
    return not keras.backend.is_float_dtype(given.dtype) or given.sparse


def no_array(subject: Subject) -> bool:
    """The data hold ragged or sparse tensors."""
    found = keras.tree.flatten(subject.inputs)
    return any(isinstance(x, tf.RaggedTensor | tf.SparseTensor) for x in found)


def no_square_images(subject: Subject) -> bool:
    """The input is no image whose sides are equal."""
    if without_graph(subject) or several_tensors(subject):
        return False
    shape = subject.model.inputs[0].shape[1:]
    return len(shape) != 3 or shape[0] != shape[1]


def several_numbers(subject: Subject) -> bool:
    """More than one number comes out for a row."""
    if without_graph(subject) or several_tensors(subject):
        return False
    return any(size != 1 for size in subject.model.outputs[0].shape[1:])


def no_dropout(subject: Subject) -> bool:
    """No layer drops anything, at any rate."""
    return not any(
        isinstance(rate := vars(layer).get(name), float) and rate > 0
        for layer in layers_in(subject.model)
        for name in ("rate", "dropout", "recurrent_dropout", "_dropout", "drop_rate")
    )


def nothing_random(subject: Subject) -> bool:
    """No layer drops anything, and none of its own draws random numbers."""
    return no_dropout(subject) and not any(
        isinstance(value, keras.random.SeedGenerator)
        for layer in layers_in(subject.model)
        if not type(layer).__module__.startswith("keras.")
        for value in vars(layer).values()
    )


def never_called(subject: Subject) -> bool:
    """Its training step calls the models inside and not the model."""
    return without_graph(subject) and not subject.model.built


def several_outputs(subject: Subject) -> bool:
    """A graph with several outputs."""
    return not without_graph(subject) and len(subject.model.outputs) > 1


def predicts_in_its_own_way(subject: Subject) -> bool:
    """Subclassed, or with a `predict` that preprocesses."""
    return without_graph(subject) or preprocesses(subject.model)
