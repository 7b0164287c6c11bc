"""The best weights of a model so far, and the file that outlives the process."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from keras_dnn import _files


class BestWeights:
    """The best weights of a model so far.

    Each new best is stored in a file of its own: the state of a callback, which is
    written after it, names the file that belongs to it.

    Attributes:
        values: the weights; `None` if there are none yet.
        name: of the file that they are stored in; `None` if they are not.
    """

    def __init__(
        self, values: list[np.ndarray] | None = None, name: str | None = None
    ) -> None:
        self.values = values
        self.name = name

    @classmethod
    def load(cls, folder: Path, name: str | None) -> BestWeights:
        """Reads what `store` wrote; `name` may be `None`."""
        if name is None:
            return cls()
        with np.load(folder / _files.checked_name(name)) as arrays:
            return cls([arrays[key] for key in arrays.files], name)

    def store(self, folder: Path, name: str) -> None:
        """Writes the weights under this name, unless they have been written before."""
        if self.values is not None and self.name is None:
            folder.mkdir(parents=True, exist_ok=True)
            arrays = {f"arr_{i}": values for i, values in enumerate(self.values)}
            _files.write_arrays(folder / name, arrays)
            self.name = name


def delete_others(folder: Path, pattern: str, used: Collection[str | None]) -> None:
    """Deletes files of weights that no stored state names."""
    for file in folder.glob(pattern):
        if file.name not in used:
            file.unlink(missing_ok=True)
