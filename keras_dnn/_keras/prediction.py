"""What a model's `predict`, `evaluate` or `fit` does besides what Keras's own does."""

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
    wanted = {"verbose": 0}
    if batch_size is not None and not hasattr(x, "cardinality"):
        wanted["batch_size"] = batch_size
    handed, unchanged = _handed(model, "predict", [x], wanted)
    if not unchanged or len(handed) != 1 or handed[0].get("steps") is not None:
        raise ValueError(
            f"predict of {type(model).__name__} changes what Keras's predict returns. "
            + REMEDY.format(inside=functional_inside(model), model=repr(model.name))
        )
    given = handed[0]
    return given["x"], given.get("batch_size") or batch_size


def batch_for_keras(model: keras.Model, x: Any) -> Any:
    """A batch of inputs, as a model's `predict` hands it to Keras's own.

    Unlike `inputs_for_keras` it does not ask what becomes of the outputs.
    """
    if not has_own(model, "predict"):
        return x
    handed, _ = _handed(model, "predict", [x], {"verbose": 0})
    return handed[0]["x"] if handed else x


def data_for_keras(model: keras.Model, data: Any) -> Any:
    """The data that a model's `evaluate`, or `fit`, hands to Keras's own.

    A model may override them to preprocess, as the tasks of KerasHub do. Neither is
    run any further than to the point where Keras would begin.

    Args:
        model: any model.
        data: as these methods take it: batches, inputs, or a tuple with targets and
            weights of examples beside the inputs.

    Returns:
        The data as Keras takes it; `data` where the model overrides neither.
    """
    overridden = [name for name in ("evaluate", "fit") if has_own(model, name)]
    if not overridden:
        return data
    given = data if isinstance(data, tuple) else (data,)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(given)
    wanted = {"verbose": 0}
    if sample_weight is not None:
        wanted["sample_weight"] = sample_weight
    handed, _ = _handed(model, overridden[0], [x] if y is None else [x, y], wanted)
    if not handed:
        return data  # It does all by itself.
    names = ("x", "y", "sample_weight")
    return keras.utils.pack_x_y_sample_weight(*map(handed[0].get, names))


def _handed(
    model: keras.Model, method: str, data: list[Any], wanted: dict[str, Any]
) -> tuple[list[dict[str, Any]], bool]:
    """The arguments with which a method calls Keras's own method of the same name.

    Args:
        model: any model.
        method: `"predict"`, `"evaluate"` or `"fit"`.
        data: its first arguments.
        wanted: further arguments, which it may not accept.

    Returns:
        The arguments of each call, and whether it returns what Keras's own returns.
    """
    original, handed, answer = getattr(keras.Model, method), [], _Answer()

    def of_keras(self: keras.Model, *args: Any, **kwargs: Any) -> Any:
        if self is not model:
            return original(self, *args, **kwargs)
        handed.append(inspect.signature(original).bind(self, *args, **kwargs).arguments)
        return answer

    returned, call = None, getattr(model, method)
    try:
        with patched(keras.Model, method, of_keras):
            returned = call(*data, **_accepted(call, wanted))
    except Exception:
        # After Keras's turn it is what the model does with the answer that fails.
        if not handed:
            raise
    return handed, returned is answer


class _Answer:
    """Stands for what Keras's own method returns."""


def _accepted(function: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return wanted
    return {name: value for name, value in wanted.items() if name in parameters}
