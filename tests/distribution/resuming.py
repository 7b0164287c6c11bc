"""A training that a signal may end: `resuming.py FOLDER WHO`.

Worker WHO, `0` or `1`, is killed at the second batch of the third epoch, or `nobody`.
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

folder, killed = Path(sys.argv[1]), sys.argv[2]
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

# Workers share no folder.
own = folder / f"worker-{worker}"
callbacks = [
    keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: print("epoch", epoch, flush=True)
    ),
    PerformanceScheduler("loss", patience=1, min_delta=0.2),
    save_on_chief(keras.callbacks.BackupAndRestore(own / "backup")),
    save_on_chief(keras.callbacks.ModelCheckpoint(own / "last.keras")),
    save_on_chief(keras.callbacks.CSVLogger(own / "log.csv")),
    save_on_chief(keras.callbacks.TensorBoard(own / "board")),
    save_on_chief(
        GradientNorms(log_dir=str(own / "norms"), csv_path=str(own / "norms.csv"))
    ),
]
if killed == str(worker):
    callbacks.append(Kill(2, 1))
model.fit(x, y, 8, 5, verbose=0, shuffle=False, callbacks=callbacks)
save_end(folder / f"end-{worker}.npz", model)
