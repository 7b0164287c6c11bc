"""The model that all runtimes are built from."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dnn._keras.layers import sublayers
from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._runtimes.export import write_saved_model
from keras_dnn.models._runtimes.signature import Signature, packed
from keras_dnn.models._runtimes.stripped import without_recurrent_dropout
from keras_dnn.models.rebuild import rebuild

CALIBRATION = 128
"""Rows from which the ranges of 8-bit numbers are taken."""


@dataclasses.dataclass(frozen=True)
class RuntimeSource:
    """What a runtime is built from: the model, and the data that it is measured on.

    Args:
        original: the model as it was given.
        model: the model to build from: without layers that do nothing at inference, its
            batch norms folded. The original where that was not possible.
        signature: the name, row shape and dtype of each input, in `signature.inputs`,
            and how inputs and outputs are nested.
        data: the measured rows: an array for each input.
        batch_size: rows in a timed call.
        folder: where files may be written while runtimes are built.

    Example:
        >>> from keras_dnn.models import Runtime, RuntimeSource
        >>> class Mine(Runtime):
        ...     def build(self, source: RuntimeSource):
        ...         return {"weights": source.model.get_weights()[0].tobytes()}
        ...
        ...     def load(self, files, threads):
        ...         raise NotImplementedError
    """

    original: keras.Model
    model: keras.Model
    signature: Signature
    data: list[np.ndarray]
    batch_size: int
    folder: Path

    @property
    def is_folded(self) -> bool:
        """Whether `model` is another one than `original`."""
        return self.model is not self.original

    @functools.cached_property
    def in_float32(self) -> keras.Model:
        """`model` if it computes in float32, or else a copy that does.

        For runtimes that do not know the other floating-point types.

        Raises:
            ValueError: if the model cannot be copied.
        """
        kinds = {
            keras.backend.standardize_dtype(dtype)
            for layer in sublayers(self.model)
            for dtype in (layer.compute_dtype, layer.variable_dtype)
        }
        others = kinds & {"float16", "bfloat16", "float64"}
        return rebuild(self.model, dtype="float32") if others else self.model

    def specs(self, rows: int | None = None) -> list[Any]:
        """Gives the inputs `x0`, `x1`, ... as TensorFlow describes them.

        Args:
            rows: how many, in the shape of `data`; `None` for any number, with the
                lengths open that the model leaves open.

        Returns:
            A list of `tf.TensorSpec`.
        """
        if rows is None:
            number = self.signature.rows
            shapes = [(number, *x.any_shape) for x in self.signature.inputs]
        else:
            shapes = [(rows, *x.shape) for x in self.signature.inputs]
        return [
            tf.TensorSpec(shapes[i], x.dtype, name=f"x{i}")
            for i, x in enumerate(self.signature.inputs)
        ]

    def function(
        self, model: keras.Model | None = None, rows: int | None = None
    ) -> Any:
        """Makes a TensorFlow function of a model in inference mode.

        Args:
            model: `model`, `original` or `in_float32`; by default `model`.
            rows: how many; `None` for any number.

        Returns:
            A `tf.function` from tensors `x0`, `x1`, ... to a dict of the outputs `y0`,
            `y1`, ...
        """
        called = self.model if model is None else model
        specs = self.specs(rows)
        if called not in (self.model, self.original):
            kinds = [tf.float32 if x.dtype.is_floating else x.dtype for x in specs]
            specs = [
                tf.TensorSpec(x.shape, kind, name=x.name)
                for x, kind in zip(specs, kinds, strict=True)
            ]

        def serve(*x: Tensor) -> dict[str, Tensor]:
            with without_recurrent_dropout(called):
                inputs = packed(self.signature.input_structure, x)
                outputs = called(inputs, training=False)
            return {f"y{i}": y for i, y in enumerate(keras.tree.flatten(outputs))}

        return tf.function(serve, input_signature=specs)

    def saved_model(
        self, model: keras.Model | None = None, rows: int | None = None
    ) -> Path:
        """Writes a SavedModel with that function, once for all runtimes.

        Args:
            model: `model`, `original` or `in_float32`; by default `model`.
            rows: how many; `None` for any number.

        Returns:
            The folder with the SavedModel.
        """
        model = self.model if model is None else model
        kind = "model" if model is self.model else "original"
        kind = kind if model in (self.model, self.original) else "float32"
        path = self.folder / f"{kind}-{rows or 'any'}"
        if not path.exists():
            # Renamed once complete: a failed export must not pass for a SavedModel.
            partial = path.with_suffix(".partial")
            write_saved_model(model, self.function(model, rows), partial)
            partial.rename(path)
        return path

    def calibration_batches(self) -> dict[str, np.ndarray]:
        """Gives some rows from all over the data, to take ranges of numbers from.

        Returns:
            For the inputs `x0`, `x1`, ... arrays of shape `(batches, batch_size, ...)`.
        """
        rows = len(self.data[0])
        batches = max(min(rows, CALIBRATION) // self.batch_size, 1)
        places = np.linspace(0, rows - 1, batches * self.batch_size).round().astype(int)
        shape = (batches, self.batch_size)
        return {
            f"x{i}": a[places].reshape(*shape, *a.shape[1:])
            for i, a in enumerate(self.data)
        }
