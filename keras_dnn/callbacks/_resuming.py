"""Callbacks whose state survives the end of the process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras

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
            metadata = file.with_name("training_metadata.json")
            if file.exists() and metadata.exists():
                epoch = json.loads(metadata.read_text())["epoch"]
                states = json.loads(file.read_text())
                # The model may have been saved before or after this epoch's state.
                earlier = [int(e) for e in states if int(e) <= epoch]
                if earlier:
                    self._restore(states[str(max(earlier))])
                    return True
        return False

    def _back_up(self, epochs: int) -> None:
        """Stores the state beside the backup of the model.

        Args:
            epochs: the number of epochs that have ended.
        """
        for file in self._files:
            states = json.loads(file.read_text()) if file.exists() else {}
            last = {k: v for k, v in states.items() if int(k) == epochs - 1}
            file.parent.mkdir(parents=True, exist_ok=True)
            # The process may end at any time; the file must never be half written.
            written = file.with_suffix(".new")
            written.write_text(json.dumps({**last, str(epochs): self._state()}))
            written.replace(file)
