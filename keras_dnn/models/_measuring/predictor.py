"""A runtime of a model as a function that can be copied, pickled and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dnn.models._runtimes.runtime import Files, Run
from keras_dnn.models._runtimes.signature import Signature, packed
from keras_dnn.models.runtimes import runtime_of


class Predictor:
    """Predicts with a registered runtime.

    Args:
        name: of the runtime.
        files: what the runtime built from the model.
        signature: the inputs and outputs of the model.
        batch_size: rows at once, where the runtime knows one number only.
        threads: for runtimes that take a number of threads.
    """

    def __init__(
        self,
        name: str,
        files: Files,
        signature: Signature,
        batch_size: int,
        threads: int,
    ) -> None:
        self.name = name
        self.files = files
        self.signature = signature
        self.batch_size = batch_size
        self.threads = threads
        self._run: Run | None = None

    def __call__(self, x: Any) -> Any:
        """The outputs for `x`, both nested as the model has them."""
        outputs = self.predict(self.signature.flat(x))
        return packed(self.signature.output_structure, outputs)

    def predict(self, x: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The arrays of all outputs for those of all inputs.

        Raises:
            ValueError: if the runtime takes the measured lengths only, and these are
                others.
            RuntimeError: if the runtime fails; its name is in the text.
        """
        runtime = runtime_of(self.name)
        if not runtime.any_batch:
            self._check_lengths(x)
        rows, fixed = len(x[0]), self.signature.rows
        # Some runtimes cannot run an empty batch.
        whole = bool(rows) and runtime.any_batch and fixed is None
        try:
            if self._run is None:
                self._run = runtime.load(self.files, self.threads)
            if rows == self.batch_size or whole:
                return self._run(x)
            return in_batches(self._run, x, self.batch_size)
        except Exception as error:
            raise RuntimeError(
                f"The runtime {self.name!r} failed: {reason(error)}"
            ) from error

    def _check_lengths(self, x: Sequence[np.ndarray]) -> None:
        for each, a in zip(self.signature.inputs, x, strict=True):
            if a.shape[1:] != each.shape:
                raise ValueError(
                    f"x must have rows of shape {each.shape} for the input "
                    f"{each.name!r}, since {self.name!r} was built for it: pad x, or "
                    "measure candidates that take any length, such as 'frozen graph'. "
                    f"Received: shape {a.shape}"
                )

    def close(self) -> None:
        """Frees what was loaded; the next call loads it again."""
        self._run = None

    def __getstate__(self) -> dict[str, Any]:
        # What was loaded belongs to this process; another process loads it again.
        return {**vars(self), "_run": None}


def in_batches(run: Run, x: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Runs any number of rows in batches of `size`, the last one padded."""
    rows = len(x[0])
    outputs = []
    for start in range(0, max(rows, 1), size):
        batch = [a[start : start + size] for a in x]
        outputs.append(run([_padded(a, size) for a in batch]))
    return [np.concatenate(y)[:rows] for y in zip(*outputs, strict=True)]


def _padded(a: np.ndarray, size: int) -> np.ndarray:
    missing = np.zeros((size - len(a), *a.shape[1:]), a.dtype)
    return np.concatenate([a, missing])


def reason(error: Exception) -> str:
    """The first line of an error message, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


LONGEST = 160
"""Characters of a reason; converters write pages."""
