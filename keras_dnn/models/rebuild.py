"""The one function that copies a model, with or without changes."""

from __future__ import annotations

from typing import get_args

import keras

from keras_dnn import _arguments
from keras_dnn._keras.graph import graph_of, is_made_like_keras
from keras_dnn.models._layer_copy import FloatDtype
from keras_dnn.models._rebuilding import Replace, copied_whole, rebuilt, rebuilt_by_user


def rebuild(
    model: keras.Model,
    replace: Replace | None = None,
    dtype: FloatDtype | None = None,
) -> keras.Model:
    """Returns a copy of a model, with layers replaced, added or dropped.

    The copy shares no layer and no weight with the model. Layers of Keras are created
    again from their configs; layers of your own, and those that are quantised or have a
    LoRA adapter, are copied as the objects that they are, for which they need neither
    `get_config` nor a registration. Functions (an activation, an initializer, the
    function of a `Lambda`) are used by both. Names, the structure of inputs and
    outputs, nested models, masks, frozen layers, layers that are used several times and
    weights that several layers hold stay as they are. The class of a model stays if it
    only overrides methods, such as `train_step`; one with its own constructor does
    where the model is only copied, and becomes a plain Keras model otherwise. The copy
    is not compiled.

    `replace` is asked once for each layer of the model and of the models nested in it,
    however often the layer is used; what it returns takes the layer's place wherever
    that is called. Of several layers the first one is called as the old layer was, with
    its mask and its other arguments. A layer that holds others, such as
    `Bidirectional`, is offered as one. Operations such as `x + 1` and input layers are
    copied.

    Args:
        model: any model, if it is only to be copied; to be changed, a functional model
            or a built Sequential. A subclassed model, whose graph is not known, is
            copied as the object that it is.
        replace: called with a layer, returns what takes its place: that layer, to have
            it copied; another one; a list of layers, called one after the other, among
            which may be the layer itself; or `None`, to drop it. A new layer has
            weights of its own, and keeps them if it is built already. By default
            nothing changes.
        dtype: of the copied layers, such as `"float64"` or `"mixed_float16"`; by
            default that of each layer. Quantised layers keep theirs.

    Returns:
        The new model.

    Raises:
        ValueError: if `model` is not a Keras model or cannot be copied, if its graph is
            not known and `replace` is given, if `replace` returns anything else or
            something that does not fit, or if `dtype` is not one of floats.

    Example:
        >>> import keras
        >>> from keras_dnn.models import rebuild
        >>> layers = keras.layers
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), layers.Dense(8), layers.ReLU(), layers.Dense(1)]
        ... )
        >>> def smoother(layer):
        ...     if isinstance(layer, layers.ReLU):
        ...         return layers.Activation("swish", name=layer.name)
        ...     return layer
        >>> copy = rebuild(model, smoother)
        >>> [type(layer).__name__ for layer in copy.layers]
        ['Dense', 'Activation', 'Dense']
        >>> bool(keras.ops.all(copy.layers[0].kernel == model.layers[0].kernel))
        True
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"model must be a Keras model. Received: model={model!r}")
    if replace is not None and not callable(replace):
        raise ValueError(
            "replace must be a function of a layer, or None. Received: "
            f"replace={replace!r}"
        )
    if dtype is not None:
        dtype = _arguments.choice("dtype", dtype, get_args(FloatDtype))
    if replace is not None:
        return rebuilt_by_user(model, replace, dtype=dtype)
    if graph_of(model) is not None and is_made_like_keras(model):
        return rebuilt(model, dtype=dtype)
    try:
        return copied_whole(model, dtype=dtype)
    except ValueError:
        if graph_of(model) is None:
            raise
        return rebuilt(model, dtype=dtype)
