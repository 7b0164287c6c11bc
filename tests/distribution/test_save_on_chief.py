"""Where a callback writes, on the chief and on the other workers."""

import gc
from pathlib import Path

import keras
import pytest

from keras_dnn.callbacks import GradientNorms
from keras_dnn.distribution import _exchange, save_on_chief


class Worker:
    num_replicas_in_sync = 2

    def __init__(self, is_chief):
        self.is_chief = is_chief


@pytest.fixture(params=[None, True, False], ids=["alone", "chief", "other"])
def is_chief(request, monkeypatch):
    worker = None if request.param is None else Worker(request.param)
    monkeypatch.setattr(_exchange, "current_strategy", lambda: worker)
    return request.param


CALLBACKS = {
    "checkpoint": (lambda: keras.callbacks.ModelCheckpoint("a/b.keras"), ["filepath"]),
    "log": (lambda: keras.callbacks.CSVLogger("a/b.csv"), ["filename"]),
    "board": (lambda: keras.callbacks.TensorBoard("a/b"), ["log_dir"]),
    "norms": (lambda: GradientNorms(log_dir="a/b"), ["_board.log_dir"]),
    "norms in a file": (lambda: GradientNorms(csv_path="a/b.csv"), ["_csv.path"]),
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_other_workers_write_to_a_temporary_folder(is_chief, name):
    make, paths = CALLBACKS[name]
    callback = make()
    assert save_on_chief(callback) is callback
    for path in paths:
        value = callback
        for attribute in path.split("."):
            value = getattr(value, attribute)
        assert isinstance(value, Path if path == "_csv.path" else str)
        assert Path(value).name in ("b", "b.keras", "b.csv")
        folder = Path(value).parent
        assert (folder == Path("a")) is (is_chief is not False)
    if is_chief is False:
        assert folder.is_dir()
        del callback
        gc.collect()
        assert not folder.exists()


def test_derived_paths_are_replaced_too(monkeypatch):
    monkeypatch.setattr(_exchange, "current_strategy", lambda: Worker(is_chief=False))
    monkeypatch.setattr(_exchange, "copy_from_chief", lambda *_: None)
    backup = save_on_chief(keras.callbacks.BackupAndRestore("a/b"))
    for path in (backup._weights_path, backup._prev_training_metadata_path):
        assert path.startswith(backup.backup_dir)
        assert not path.startswith("a/b")


def test_a_callback_without_a_path(is_chief):
    with pytest.raises(ValueError, match=r"attributes backup_dir, filepath.*Received"):
        save_on_chief(keras.callbacks.EarlyStopping())
