"""The model that all forms are made from."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor
from keras_dnn.models._runtimes.export import write_saved_model
from keras_dnn.models._runtimes.signature import Ports, filled

CALIBRATION = 128
"""Rows from which the ranges of 8-bit numbers are taken."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained model, as it is and folded, with the data that it is measured with.

    Attributes:
        model: as it is.
        folded: without what does nothing at inference, its batch norms folded; `None`
            where the model cannot be rebuilt.
        ports: its inputs and outputs.
        arrays: rows of all inputs.
        batch_size: rows at once.
        folder: where files may be written, as long as forms are made.
    """

    model: keras.Model
    folded: keras.Model | None
    ports: Ports
    arrays: list[np.ndarray]
    batch_size: int
    folder: Path

    @property
    def lean(self) -> keras.Model:
        """The folded model, or the model where there is none."""
        return self.folded or self.model

    def signature(self, rows: int | None) -> list[Any]:
        """The inputs `x0`, `x1`, ... of so many rows; `None` for any number."""
        return [
            tf.TensorSpec((rows, *port.shape), port.dtype, name=f"x{i}")
            for i, port in enumerate(self.ports.inputs)
        ]

    def function(self, model: keras.Model, rows: int | None = None) -> Any:
        """A `tf.function` of flat inputs with the outputs `y0`, `y1`, ..."""

        def serve(*x: Tensor) -> dict[str, Tensor]:
            outputs = model(filled(self.ports.input_structure, x), training=False)
            return {f"y{i}": y for i, y in enumerate(keras.tree.flatten(outputs))}

        return tf.function(serve, input_signature=self.signature(rows))

    @cached_property
    def saved(self) -> Path:
        """A SavedModel of the lean model, for any number of rows."""
        return self.write(self.lean, "any")

    @cached_property
    def saved_for_batch(self) -> Path:
        """A SavedModel of the lean model for one batch size."""
        return self.write(self.lean, "batch", self.batch_size)

    def write(self, model: keras.Model, name: str, rows: int | None = None) -> Path:
        """Writes a SavedModel into a folder of this name."""
        path = self.folder / name
        write_saved_model(model, self.function(model, rows), path)
        return path

    def calibration(self) -> dict[str, np.ndarray]:
        """Batches from all over the data, of shape `(batches, batch_size, ...)`."""
        rows = len(self.arrays[0])
        batches = max(min(rows, CALIBRATION) // self.batch_size, 1)
        places = np.linspace(0, rows - 1, batches * self.batch_size).round().astype(int)
        shape = (batches, self.batch_size)
        return {
            f"x{i}": a[places].reshape(*shape, *a.shape[1:])
            for i, a in enumerate(self.arrays)
        }


def read_files(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by their paths in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """The opposite of `read_files`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
