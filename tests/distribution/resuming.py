"""A training that a signal may end: `resuming.py FOLDER WHO`.

WHO is killed at the second batch of the third epoch: `nobody`, or worker `0` or `1`.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_dnn.callbacks import GradientNorms, PerformanceScheduler
from keras_dnn.distribution import MultiWorkerStrategy, save_on_chief
from keras_dnn.optimizers import Adam
from tests.callbacks.resumed_training import Kill, save_end

folder, dies = Path(sys.argv[1]), sys.argv[2]
strategy = MultiWorkerStrategy()
worker = strategy.cluster_resolver.task_id
keras.utils.set_random_seed(1)
x = np.random.default_rng(1).normal(size=(21, 4))
y = np.tanh(x.sum(axis=1, keepdims=True))


with strategy.scope():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "tanh"),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Dense(1),
        ]
    )
    model.compile(Adam(0.05, global_clipnorm=0.1), "mse")

# No folder is shared.
here = folder / f"worker-{worker}"
callbacks = [
    keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: print("epoch", epoch, flush=True)
    ),
    PerformanceScheduler("loss", patience=1, min_delta=0.2),
    save_on_chief(keras.callbacks.BackupAndRestore(here / "backup")),
    save_on_chief(keras.callbacks.ModelCheckpoint(here / "last.keras")),
    save_on_chief(keras.callbacks.CSVLogger(here / "log.csv")),
    save_on_chief(keras.callbacks.TensorBoard(here / "board")),
    save_on_chief(
        GradientNorms(log_dir=str(here / "norms"), csv_path=str(here / "norms.csv"))
    ),
]
if dies == str(worker):
    callbacks.append(Kill(2, 1))
model.fit(x, y, 8, 5, verbose=0, shuffle=False, callbacks=callbacks)
save_end(folder / f"end-{worker}.npz", model)
