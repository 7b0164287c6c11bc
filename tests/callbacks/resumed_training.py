"""Trainings that are killed, and resumed by another process.

`python -m tests.callbacks.resumed_training MODULE FOLDER` runs the `CASES` of a test
module: each once without interruption, once until it is killed, and once more from the
backup. One process forks each run, so that TensorFlow is imported once for all of them;
it has to fork before TensorFlow runs, so MODULE computes nothing when it is imported.
"""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_dnn.callbacks import StepLogger


class Setup(NamedTuple):
    """What a test module's `setup` makes of the options of a case."""

    model: keras.Model
    data: tuple[np.ndarray, np.ndarray]
    epochs: int
    # The callback that is tested.
    callback: keras.callbacks.Callback
    # What the test wants to know of it when training is over.
    result: Callable[[], dict[str, Any]]
    before: tuple[keras.callbacks.Callback, ...] = ()


class Case(NamedTuple):
    """A training, and where it is killed."""

    # The names of "tested", "log", "kill" and "backup", in the order of `fit`.
    order: str
    # Epoch and batch; a batch of `None` is the end of the epoch.
    kill: tuple[int, int | None]
    options: Mapping[str, Any] = MappingProxyType({})
    save_freq: str | int = "epoch"

    @property
    def uninterrupted(self) -> str:
        """The name of the run without interruption, for which the order is the same."""
        options = [f"{name}={value}" for name, value in self.options.items()]
        return "-".join([*options, "uninterrupted"])


class Kill(keras.callbacks.Callback):
    """Ends the process without a warning after this batch of this epoch."""

    def __init__(self, epoch: int, batch: int | None) -> None:
        super().__init__()
        self.at = epoch, batch
        self.epoch = -1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._kill_at(self.epoch, batch)

    def on_epoch_end(self, epoch, logs=None):
        self._kill_at(epoch, None)

    def _kill_at(self, epoch, batch):
        if (epoch, batch) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def small_network() -> keras.Model:
    """Three inputs, one output."""
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh"),
            keras.layers.Dense(1),
        ]
    )


def save_end(path: Path, model: keras.Model, **results: Any) -> None:
    """Stores the values of all variables in order, and results by name."""
    variables = [*model.weights, *model.optimizer.variables]
    np.savez(path, *map(np.asarray, variables), **results)


def load(path: Path) -> dict[str, np.ndarray]:
    """What `save_end` stored."""
    with np.load(path) as arrays:
        return dict(arrays)


def train(setup: Setup, case: Case, backup: Path, *, killed: bool, end: Path) -> None:
    """One run from the start or from a backup; stores where it ends."""
    log = StepLogger()
    callbacks = {
        "tested": setup.callback,
        "log": log,
        "kill": Kill(*case.kill) if killed else keras.callbacks.Callback(),
        "backup": keras.callbacks.BackupAndRestore(backup, case.save_freq),
    }
    setup.model.fit(
        *setup.data,
        batch_size=4,
        epochs=setup.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*setup.before, *(callbacks[name] for name in case.order.split())],
    )
    save_end(
        end,
        setup.model,
        rates=log.learning_rates,
        momenta=log.momenta,
        losses=log.losses,
        **setup.result(),
    )


def main(module_name: str, folder: Path) -> None:
    """Runs the cases of a test module."""
    module = importlib.import_module(module_name)

    def run(case: Case, name: str, backup: str, killed: bool = False) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                keras.utils.set_random_seed(1)
                setup = module.setup(**case.options)
                end = folder / f"{name}.npz"
                train(setup, case, folder / backup, killed=killed, end=end)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status == (-signal.SIGKILL if killed else 0), (name, status)

    for name, case in module.CASES.items():
        if not (folder / f"{case.uninterrupted}.npz").exists():
            run(case, case.uninterrupted, f"{case.uninterrupted}-backup")
        run(case, f"{name}-killed", f"{name}-backup", killed=True)
        run(case, name, f"{name}-backup")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
