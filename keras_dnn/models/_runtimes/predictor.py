"""One form of a model as a function that can be copied, pickled and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dnn.models._runtimes.registry import FORMS
from keras_dnn.models._runtimes.runtime import Files, Run
from keras_dnn.models._runtimes.signature import Ports, filled


class Predictor:
    """Predicts with a form of a model.

    Args:
        name: of the form.
        files: what it consists of.
        ports: its inputs and outputs.
        batch_size: rows at once, where the form knows one number only.
        threads: for runtimes that are told.
    """

    def __init__(
        self, name: str, files: Files, ports: Ports, batch_size: int, threads: int
    ) -> None:
        self.name = name
        self.files = files
        self.ports = ports
        self.batch_size = batch_size
        self.threads = threads
        self._run: Run | None = None

    def __call__(self, x: Any) -> Any:
        """The outputs for `x`, both nested as the model has them."""
        outputs = self.predict(self.ports.flat(x))
        return filled(self.ports.output_structure, outputs)

    def predict(self, x: Sequence[np.ndarray]) -> Sequence[Any]:
        """The arrays of all outputs for those of all inputs."""
        if self._run is None:
            self._run = FORMS[self.name].open(self.files, self.threads)
        rows = len(x[0])
        # None at all is beyond some runtimes.
        if rows == self.batch_size or (rows and FORMS[self.name].any_batch):
            return self._run(x)
        return in_pieces(self._run, x, self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        # What runs belongs to this process; it is opened anew in another.
        return {**vars(self), "_run": None}


def in_pieces(run: Run, x: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Runs rows of any number as several of `size`, the last one filled up."""
    rows = len(x[0])
    parts = []
    for start in range(0, max(rows, 1), size):
        piece = [a[start : start + size] for a in x]
        parts.append(run([_filled_up(a, size) for a in piece]))
    return [np.concatenate(y)[:rows] for y in zip(*parts, strict=True)]


def _filled_up(a: np.ndarray, size: int) -> np.ndarray:
    missing = np.zeros((size - len(a), *a.shape[1:]), a.dtype)
    return np.concatenate([a, missing])
