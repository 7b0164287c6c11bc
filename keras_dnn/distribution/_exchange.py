"""Exchange of values and files between workers."""

from __future__ import annotations

import io
import tarfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn._typing import Tensor

CHUNK = 1 << 24
"""How many numbers of four bytes are sent at a time."""

_strategies: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def remember(strategy: Any) -> None:
    """Makes this the strategy of the process; TensorFlow allows one cluster in each."""
    _strategies["current"] = strategy


def current_strategy() -> Any:
    """The strategy of this process, `None` if it is not one of several workers."""
    strategy = _strategies.get("current")
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return None
    return strategy


def from_all(strategy: Any, values: np.ndarray) -> np.ndarray:
    """One row of values from each replica."""
    given = strategy.experimental_distribute_values_from_function(
        lambda _: tf.constant(values)[tf.newaxis]
    )
    rows: np.ndarray = strategy.gather(given, axis=0).numpy()
    return rows


def from_chief(strategy: Any, values: np.ndarray | None, size: int) -> np.ndarray:
    """The chief's `size` numbers of type int32, on all workers."""
    zeros = np.zeros(size, "int32")

    def value_of(context: Any) -> Tensor:
        is_chief = context.replica_id_in_sync_group == 0
        return tf.constant(values if is_chief and values is not None else zeros)

    sent = strategy.experimental_distribute_values_from_function(value_of)
    received: np.ndarray = strategy.reduce("SUM", sent, axis=None).numpy()
    return received


def copy_from_chief(strategy: Any, folder: Path, copy: Path) -> None:
    """Copies the contents of the chief's `folder` to `copy` on all other workers."""
    packed = _packed(folder) if strategy.is_chief else b""
    padded = np.frombuffer(packed + b"\0" * (-len(packed) % 4), "int32")
    size = int(from_chief(strategy, np.array([padded.size], "int32"), 1)[0])
    pieces = []
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        piece = padded[start:stop] if strategy.is_chief else None
        pieces.append(from_chief(strategy, piece, stop - start))
    if not strategy.is_chief:
        received = np.concatenate(pieces).tobytes()
        with tarfile.open(fileobj=io.BytesIO(received)) as archive:
            # Python before 3.11.4 knows no filter.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(copy)


def _packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        if folder.is_dir():
            archive.add(folder, arcname=".")
    return buffer.getvalue()
