"""What a model's `predict` does besides what Keras's own does."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_dnn._keras.graph import functional_inside
from keras_dnn._keras.patched import patched

REMEDY = "Give {inside}, and inputs as that takes them. Received: model={model}"


def has_own(model: keras.Model, method: str) -> bool:
    """Whether the class of a model, or the model, overrides a method of `keras.Model`.

    Args:
        model: any model.
        method: its name, such as `"predict_step"`.
    """
    own = vars(model).get(method, getattr(type(model), method))
    return own is not getattr(keras.Model, method)


def inputs_for_keras(model: keras.Model, x: Any, batch_size: int | None) -> Any:
    """The data that `model.predict(x)` hands to Keras's own `predict`.

    A model may override `predict` to preprocess, as the tasks of KerasHub do. It is
    called here, up to the point where Keras would predict.

    Args:
        model: any model.
        x: inputs as its `predict` takes them.
        batch_size: for inputs that are not batched.

    Returns:
        The data, and the batch size to divide them by.

    Raises:
        ValueError: if its `predict` does something else with what Keras returns.
    """
    if not has_own(model, "predict"):
        return x, batch_size
    original, handed, answer = keras.Model.predict, [], _Answer()

    def predict(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        if self is not model:
            return original(self, *args, **kwargs)
        handed.append(inspect.signature(original).bind(self, *args, **kwargs).arguments)
        return answer

    wanted = {"verbose": 0}
    if batch_size is not None and not hasattr(x, "cardinality"):
        wanted["batch_size"] = batch_size
    returned = None
    try:
        with patched(keras.Model, "predict", predict):
            returned = model.predict(x, **_accepted(model.predict, wanted))
    except Exception:
        # After Keras's turn it is what the model does with the answer that fails.
        if not handed:
            raise
    if returned is not answer or len(handed) != 1 or handed[0].get("steps") is not None:
        raise ValueError(
            f"predict of {type(model).__name__} changes what Keras's predict returns. "
            + REMEDY.format(inside=functional_inside(model), model=repr(model.name))
        )
    given = handed[0]
    return given["x"], given.get("batch_size") or batch_size


class _Answer:
    """Stands for what Keras's `predict` returns."""


def _accepted(function: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return wanted
    return {name: value for name, value in wanted.items() if name in parameters}
