"""Callbacks that write files, on several workers."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import keras

from keras_dnn.distribution import _chief

C = TypeVar("C", bound=keras.callbacks.Callback)

PATHS = ("backup_dir", "filepath", "filename", "log_dir", "path")
"""Where callbacks, of Keras and of this package, keep the place that they write to."""


def save_on_chief(callback: C) -> C:
    """Lets a callback write on the chief alone, while all workers take part.

    Some callbacks must run on every worker, for they ask all of them for a number or
    change the compiled step. So all run; what they write on others than the chief goes
    to a folder that is deleted when the callback is. For `ModelCheckpoint`,
    `BackupAndRestore`, `TensorBoard`, `CSVLogger`, `GradientNorms` with a `log_dir` or
    a `csv_path`, and callbacks that keep their place in an attribute of such a name.

    A `BackupAndRestore` resumes on all workers from the chief's backup, which the chief
    sends them, with what callbacks of this package have stored beside it: the folder
    need not be shared. All workers must call this in the same order, after the
    strategy is created.

    Args:
        callback: as made for one process. It is changed, on workers that are not the
            chief.

    Returns:
        The same callback.

    Raises:
        ValueError: if the callback has no place to write to.

    Example:
        >>> import keras
        >>> from keras_dnn.distribution import save_on_chief
        >>> backup = save_on_chief(keras.callbacks.BackupAndRestore("backup"))
        >>> backup.backup_dir
        'backup'
    """
    places = list(_places(callback))
    if not places:
        raise ValueError(
            "callback must keep the place that it writes to in one of the attributes "
            f"{', '.join(PATHS)}. Received: callback={callback!r}"
        )
    strategy = _chief.present()
    if strategy is None:
        return callback
    backup = isinstance(callback, keras.callbacks.BackupAndRestore)
    if strategy.is_chief:
        if backup:
            _chief.hand_out(strategy, Path(callback.backup_dir), Path())
        return callback
    folder = tempfile.TemporaryDirectory(prefix="keras_dnn-worker-")
    weakref.finalize(callback, folder.cleanup)
    for number, (holder, name) in enumerate(places):
        place = Path(folder.name) / str(number) / Path(getattr(holder, name)).name
        place.parent.mkdir()
        _move(holder, getattr(holder, name), place)
    if backup:
        _chief.hand_out(strategy, Path(), Path(callback.backup_dir))
    return callback


def _places(callback: keras.callbacks.Callback) -> Iterator[tuple[Any, str]]:
    """The objects and attributes that say where to write."""
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


def _move(holder: Any, old: str | Path, new: Path) -> None:
    """Changes the place, and those that were derived from it."""
    for name, value in list(vars(holder).items()):
        if isinstance(value, str | Path) and str(value).startswith(str(old)):
            moved = f"{new}{str(value)[len(str(old)) :]}"
            setattr(holder, name, type(value)(moved))
