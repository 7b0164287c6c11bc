"""Callbacks that write files, on several workers."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import keras

from keras_dnn.distribution import _exchange

C = TypeVar("C", bound=keras.callbacks.Callback)

PATHS = ("backup_dir", "filepath", "filename", "log_dir", "path")
"""Attributes of Keras's callbacks and ours that say where they write to."""


def save_on_chief(callback: C) -> C:
    """Lets a callback write files on the chief only, while it runs on all workers.

    Some callbacks must run on every worker, since they exchange values or change the
    compiled step. So all run; workers other than the chief write to a folder that is
    deleted with the callback. It works for `ModelCheckpoint`, `BackupAndRestore`,
    `TensorBoard`, `CSVLogger`, `GradientNorms` with a `log_dir` or a `csv_path`, and
    other callbacks that store their path in an attribute with one of these names.

    `BackupAndRestore` resumes on all workers from the chief's backup, which the chief
    sends to the others, with the state that callbacks of this package have stored
    beside it: the folder need not be shared. All workers must call this function in the
    same order, after the strategy is created.

    Args:
        callback: the callback as for one process. It is changed on all workers but the
            chief.

    Returns:
        The same callback.

    Raises:
        ValueError: if no attribute of the callback says where it writes to.

    Example:
        >>> import keras
        >>> from keras_dnn.distribution import save_on_chief
        >>> backup = save_on_chief(keras.callbacks.BackupAndRestore("backup"))
        >>> backup.backup_dir
        'backup'
    """
    paths = list(_paths(callback))
    if not paths:
        raise ValueError(
            "callback must store where it writes to in one of the attributes "
            f"{', '.join(PATHS)}. Received: callback={callback!r}"
        )
    strategy = _exchange.current_strategy()
    if strategy is None:
        return callback
    backup = isinstance(callback, keras.callbacks.BackupAndRestore)
    if strategy.is_chief:
        if backup:
            _exchange.copy_from_chief(strategy, Path(callback.backup_dir), Path())
        return callback
    folder = tempfile.TemporaryDirectory(prefix="keras_dnn-worker-")
    weakref.finalize(callback, folder.cleanup)
    for number, (holder, name) in enumerate(paths):
        path = Path(folder.name) / str(number) / Path(getattr(holder, name)).name
        path.parent.mkdir()
        _replace_path(holder, getattr(holder, name), path)
    if backup:
        _exchange.copy_from_chief(strategy, Path(), Path(callback.backup_dir))
    return callback


def _paths(callback: keras.callbacks.Callback) -> Iterator[tuple[Any, str]]:
    """The objects and names of the attributes that say where to write."""
    ours = [
        value
        for value in vars(callback).values()
        if type(value).__module__.startswith("keras_dnn.")
        and hasattr(value, "__dict__")
    ]
    for holder in (callback, *ours):
        for name in PATHS:
            if isinstance(vars(holder).get(name), str | Path):
                yield holder, name


def _replace_path(holder: Any, old: str | Path, new: Path) -> None:
    """Changes a path and all paths derived from it."""
    for name, value in list(vars(holder).items()):
        if isinstance(value, str | Path) and str(value).startswith(str(old)):
            replaced = f"{new}{str(value)[len(str(old)) :]}"
            setattr(holder, name, type(value)(replaced))
