"""The states of callbacks beside a backup: which are kept, and when they are torn."""

import json
import shutil
import warnings

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import Doctor, OneCycleScheduler, PerformanceScheduler
from keras_dnn.callbacks._resuming import Resumable
from tests.callbacks.harness import Report
from tests.callbacks.resumed_training import small_network

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
EPOCHS = 6


class Stop(keras.callbacks.Callback):
    """Ends the training at the beginning of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise InterruptedError


class Counter(Resumable):
    """Its state is the number of epochs that have ended."""

    def __init__(self):
        super().__init__()
        self.restored = []

    def on_train_begin(self, logs=None):
        self.count = 0
        self._resume()

    def on_epoch_end(self, epoch, logs=None):
        self.count = epoch + 1
        self._back_up(epoch + 1)

    def _state(self):
        return {"count": self.count}

    def _restore(self, state):
        self.count = state["count"]
        self.restored.append(state["count"])


def interrupted(model, folder, callbacks, epoch, save_freq="epoch"):
    backup = keras.callbacks.BackupAndRestore(folder, save_freq)
    with pytest.raises(InterruptedError):
        model.fit(
            *(X, X[:, :1]),
            batch_size=4,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[backup, *callbacks, Stop(epoch)],
        )


@pytest.fixture(scope="module")
def model():
    return compiled()


def compiled():
    model = small_network()
    model.compile("sgd", "mse")
    return model


def test_the_state_that_belongs_to_an_old_backup_is_kept(model, tmp_path):
    """Keras saves after 3 of 2 batches an epoch: in epochs 1, 2, 4."""
    interrupted(model, tmp_path, [Counter()], 4, save_freq=3)
    metadata = json.loads((tmp_path / "training_metadata.json").read_text())
    states = json.loads((tmp_path / "Counter-0.json").read_text())
    assert metadata["epoch"] < 4
    assert states[str(metadata["epoch"])] == {"count": metadata["epoch"]}
    assert str(metadata["epoch"] - 2) not in states
    counter = Counter()
    interrupted(model, tmp_path, [counter], 4)
    assert counter.restored == [metadata["epoch"]]


def test_with_a_backup_in_each_epoch_two_states_are_kept(model, tmp_path):
    interrupted(model, tmp_path, [Counter()], 4)
    assert json.loads((tmp_path / "Counter-0.json").read_text()) == {
        "3": {"count": 3},
        "4": {"count": 4},
    }


CALLBACKS = ["OneCycleScheduler", "PerformanceScheduler", "Doctor"]


def callbacks():
    report = Report("loss", [5, 4, 3, 3, 3, 3])
    plateau = PerformanceScheduler("loss", restore_best=True, patience=9)
    return [OneCycleScheduler(0.1), report, plateau, Doctor(verbose=0)]


@pytest.fixture(scope="module")
def backup(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backup")
    interrupted(compiled(), folder, callbacks(), 4)
    return folder


def resumed(model, folder):
    """The callbacks of a training that goes on, and what was warned of."""
    found = callbacks()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        interrupted(model, folder, found, 5)
    return found, [
        str(w.message) for w in warned if "starts from scratch" in str(w.message)
    ]


def test_whole_files_are_continued(model, backup, tmp_path):
    folder = shutil.copytree(backup, tmp_path / "backup")
    (cycle, _, plateau, doctor), warned = resumed(model, folder)
    assert warned == []
    assert cycle.schedule.total_steps == 2 * EPOCHS
    assert plateau.best == 3
    assert len(doctor.report.charts[0].x) == 10
    # The weights of the best epoch, and no others.
    assert [p.name for p in folder.glob("*.npz")] == ["PerformanceScheduler-0-3.npz"]


@pytest.mark.parametrize("content", [b"", b"half", b'{"4": {"other": 5}}'])
def test_torn_files_never_prevent_a_resume(content, model, backup, tmp_path):
    folder = shutil.copytree(backup, tmp_path / "backup")
    for name in CALLBACKS:
        file = folder / f"{name}-0.json"
        file.write_bytes(file.read_bytes()[:40] if content == b"half" else content)
    (cycle, _, plateau, doctor), warned = resumed(model, folder)
    assert len(warned) == 3
    for name, text in zip(CALLBACKS, warned, strict=True):
        assert f"{name} cannot read its state in" in text
        assert f"{name}-0.json" in text
        assert "\n" not in text
    assert cycle.schedule.total_steps == 4
    assert plateau.wait == 0
    assert len(doctor.report.charts[0].x) == 2
    # What is written now is whole.
    for name in CALLBACKS:
        assert "5" in json.loads((folder / f"{name}-0.json").read_text())


def test_torn_weights_leave_nothing_half_restored(model, backup, tmp_path):
    folder = shutil.copytree(backup, tmp_path / "backup")
    (weights,) = folder.glob("*.npz")
    weights.write_bytes(weights.read_bytes()[:100])
    (_, _, plateau, _), warned = resumed(model, folder)
    assert [text.split()[0] for text in warned] == ["PerformanceScheduler"]
    assert plateau.best == 3
    assert plateau.wait == 0
