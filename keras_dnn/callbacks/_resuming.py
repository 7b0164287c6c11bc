"""Callbacks whose state survives the end of the process."""

from __future__ import annotations

import json
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras

from keras_dnn import _files
from keras_dnn._keras import call_stack


class Resumable(keras.callbacks.Callback):
    """A callback whose state is backed up with `keras.callbacks.BackupAndRestore`.

    Keras backs up the model without its callbacks. The state that a subclass returns is
    stored beside the model, restored from there, and deleted with it.
    """

    def _state(self) -> dict[str, Any]:
        """What must survive, as JSON can store it."""
        raise NotImplementedError

    def _restore(self, state: dict[str, Any]) -> None:
        """Restores what `_state` returned in a process that ended."""
        raise NotImplementedError

    def _resume(self) -> bool:
        """Restores the state from a backup, if there is one, when training begins.

        A file that is torn, or that something else has written, is named in a warning,
        and the callback starts from scratch.

        Returns:
            Whether a state was found and restored.
        """
        self._files: list[Path] = []
        siblings = getattr(call_stack.callback_list(), "callbacks", [])
        same_type = [c for c in siblings if type(c) is type(self)]
        for callback in siblings:
            if isinstance(callback, keras.callbacks.BackupAndRestore):
                folder = Path(callback.backup_dir)
                name = f"{type(self).__name__}-{same_type.index(self)}.json"
                self._files.append(folder / name)
        for file in self._files:
            try:
                epoch = _epoch_of_model(file)
                # The model may have been saved before or after this epoch's state.
                earlier = {
                    epochs: state
                    for epochs, state in states_in(file).items()
                    if epoch is not None and epochs <= epoch
                }
                if earlier:
                    self._restore(earlier[max(earlier)])
                    return True
            except UNREADABLE as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                warnings.warn(
                    f"{type(self).__name__} cannot read its state in {str(file)!r} and "
                    f"starts from scratch, while the model continues ({reason}).",
                    stacklevel=3,
                )
        return False

    def _back_up(self, epochs: int) -> None:
        """Stores the state beside the backup of the model.

        Args:
            epochs: the number of epochs that have ended.
        """
        for file in self._files:
            try:
                before = {k: v for k, v in states_in(file).items() if k < epochs}
                # Keras keeps the backup before the last one too.
                both = [
                    _epoch_of_model(file, f"{METADATA}{end}") for end in ("", ".bkp")
                ]
                saved = [epoch for epoch in both if epoch is not None]
                oldest = min([*saved, epochs - 1]) if saved else 0
            except UNREADABLE:
                before, oldest = {}, 0
            # The backup of the model may be older than the last epoch, and the process
            # may have ended between a backup and the state that belongs to it.
            first = max((k for k in before if k <= oldest), default=0)
            states = {k: v for k, v in before.items() if k >= first}
            file.parent.mkdir(parents=True, exist_ok=True)
            _files.write(file, json.dumps({**states, epochs: self._state()}))


UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError),
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error),
)
"""What reading a torn file, or one that something else has written, may raise."""


def states_in(file: Path) -> dict[int, Any]:
    """The states of a callback by the number of epochs that had ended."""
    if not file.exists():
        return {}
    return {
        int(epochs): state for epochs, state in json.loads(file.read_text()).items()
    }


METADATA = "training_metadata.json"
"""Where Keras writes in which epoch it has backed up the model."""


def _epoch_of_model(file: Path, metadata: str = METADATA) -> int | None:
    """The epoch in which the model beside this file was backed up."""
    path = file.with_name(metadata)
    return int(json.loads(path.read_text())["epoch"]) if path.exists() else None
