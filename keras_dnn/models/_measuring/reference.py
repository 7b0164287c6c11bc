"""What a model itself predicts, with which every candidate is compared."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.graph import functional_inside
from keras_dnn._keras.prediction import has_own, inputs_for_keras
from keras_dnn._tensorflow import tf
from keras_dnn.models._layer_outputs import watched
from keras_dnn.models._measuring.predictor import in_batches
from keras_dnn.models._output_difference import (
    largest,
    not_finite,
    relative_differences,
)
from keras_dnn.models._runtimes.signature import Signature, packed

COMPARED = 64
"""Rows whose outputs are computed at once for the comparison."""

ALIKE = 1e-2
"""How far `predict` and a call of one model may differ by rounding, in deviations."""


PREDICTS = ("predict_step", "make_predict_function")
"""Methods that say what `predict` gives, besides `predict` itself."""


class Reference:
    """A model, and what it predicts for the data.

    Args:
        model: the model.
        signature: its inputs.
        data: the rows: an array for each input.

    Raises:
        ValueError: if the model gives numbers that are not finite, or if a `predict` of
            its own gives something else than a call of the model.
    """

    def __init__(
        self, model: keras.Model, signature: Signature, data: list[np.ndarray]
    ) -> None:
        self.model = model
        self._structure = signature.input_structure
        self._rows = signature.rows
        size = signature.rows or COMPARED
        missing = -len(data[0]) % size if signature.rows else 0
        x = [np.concatenate([a, np.repeat(a[-1:], missing, 0)]) for a in data]
        found = self.predict(packed(self._structure, x), size)
        self.structure = found
        self.outputs = [y[: len(data[0])] for y in keras.tree.flatten(found)]
        self.names = [
            ".".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(found)
        ]
        self._check_call([a[:size] for a in x])
        wrong = not_finite(self.outputs, self.outputs)
        if wrong:
            raise ValueError(
                "model must give finite numbers for data. "
                f"Received: model={model.name!r}, which gives {wrong}"
                f"{self._first_layer(x, size)}"
            )

    def predict(self, x: Any, batch_size: int) -> Any:
        """What `model.predict` gives; what its own does before has been done."""
        x = _with_strings_as_tensors(x)
        return keras.Model.predict(self.model, x, batch_size=batch_size, verbose=0)

    def call(self, x: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The flat outputs of calls of the model in inference mode."""
        return in_batches(self._call, x, self._rows) if self._rows else self._call(x)

    def _call(self, x: Sequence[np.ndarray]) -> list[np.ndarray]:
        inputs = _with_strings_as_tensors(packed(self._structure, x))
        outputs = self.model(inputs, training=False)
        return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs)]

    def _check_call(self, x: Sequence[np.ndarray]) -> None:
        """A call is what runtimes are built from: it must be what `predict` gives."""
        found, rows = self.call(x), min(len(x[0]), len(self.outputs[0]))
        if self._differ([y[:rows] for y in self.outputs], [y[:rows] for y in found]):
            own = [name for name in PREDICTS if has_own(self.model, name)]
            if own:
                raise ValueError(
                    f"{own[0]} of {type(self.model).__name__} makes predict differ "
                    "from model(x), from which runtimes are built. Give "
                    f"{functional_inside(self.model)}, or a model that ends in what "
                    f"it computes. Received: model={self.model.name!r}"
                )
            if self._differ(found, self.call(x)):
                raise ValueError(
                    "model must give the same outputs for the same inputs, to be "
                    "compared with. For a model that is random at inference see "
                    "export_monte_carlo. "
                    f"Received: model={self.model.name!r}, whose calls differ"
                )

    def _differ(self, one: list[np.ndarray], other: list[np.ndarray]) -> bool:
        """Whether outputs differ by more than rounding; NaN is told elsewhere."""
        try:
            return largest(relative_differences(one, other)) > ALIKE
        except ValueError:
            return True

    def _first_layer(self, x: Sequence[np.ndarray], size: int) -> str:
        """The layer whose outputs are the first that are not finite."""
        if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in x):
            return "; data holds numbers that are not finite"
        names: list[str] = []

        def see(layer: keras.layers.Layer, outputs: Any) -> None:
            for y in [] if names else keras.tree.flatten(outputs):
                dtype = keras.backend.standardize_dtype(y.dtype)
                if keras.backend.is_float_dtype(dtype):
                    a = keras.ops.convert_to_numpy(y).astype("float64")
                    if not np.isfinite(a).all():
                        names.append(layer.name)

        with contextlib.suppress(Exception), watched(self.model, see):
            for start in range(0, len(x[0]), size):
                self.call([a[start : start + size] for a in x])
                if names:
                    return f"; the first layer that gives such numbers is {names[0]!r}"
        return ""


def _with_strings_as_tensors(x: Any) -> Any:
    # Keras takes arrays of strings, but not of bytes, and no arrays beside tensors.
    if all(a.dtype != object for a in keras.tree.flatten(x)):
        return x
    return keras.tree.map_structure(tf.constant, x)


def inputs_of_calls(model: keras.Model, data: Any) -> Any:
    """The inputs that the model is called with when `predict` gets the data.

    They differ where a `predict` of the model's own preprocesses.

    Raises:
        ValueError: if it does more than that.
    """
    if not has_own(model, "predict"):
        return data
    inputs, _ = inputs_for_keras(model, data, COMPARED)
    if not hasattr(inputs, "cardinality"):
        return inputs
    batches = [keras.utils.unpack_x_y_sample_weight(batch)[0] for batch in inputs]
    return keras.tree.map_structure(
        lambda *parts: np.concatenate(list(map(keras.ops.convert_to_numpy, parts))),
        *batches,
    )
