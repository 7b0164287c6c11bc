"""
Train on several workers
========================

The same script is the launcher and a worker. Started by hand, it starts itself as two
processes on this machine; started with a ``TF_CONFIG``, as on several machines, it
trains. Kill a process and start the script again: training continues from the backup.

    python examples/train_on_several_workers.py --workers 2 --epochs 5
"""

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--folder", default="runs/several_workers")
given = parser.parse_args()

if "TF_CONFIG" not in os.environ:
    from keras_dnn.distribution import launch

    statuses = launch(__file__, sys.argv[1:], workers=given.workers)
    sys.exit(0 if not any(statuses) else f"The workers ended with {statuses}.")

# %%
# From here on, this is a worker. The strategy comes first, then the seed, which is the
# same on all workers, and then the model inside the scope.

import fashion_mnist
import keras

from keras_dnn.callbacks import OneCycleScheduler
from keras_dnn.distribution import MultiWorkerStrategy, StepTimeout, save_on_chief
from keras_dnn.optimizers import Nesterov

strategy = MultiWorkerStrategy()
keras.utils.set_random_seed(1)
(x_train, y_train), (x_test, y_test) = fashion_mnist.load()

with strategy.scope():
    model = keras.Sequential(
        [
            keras.Input(x_train.shape[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(128, "relu"),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, "softmax"),
        ]
    )
    model.compile(
        Nesterov(0.05, global_clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )

# %%
# All workers call all callbacks, but only the chief writes files.

folder = Path(given.folder)
folder.mkdir(parents=True, exist_ok=True)
history = model.fit(
    x_train,
    y_train,
    batch_size=128,
    epochs=given.epochs,
    validation_data=(x_test, y_test),
    verbose=2 if strategy.is_chief else 0,
    callbacks=[
        OneCycleScheduler(0.1),
        save_on_chief(keras.callbacks.BackupAndRestore(folder / "backup")),
        save_on_chief(keras.callbacks.ModelCheckpoint(folder / "last.keras")),
        StepTimeout(120),
    ],
)
if strategy.is_chief:
    print(f"test accuracy: {history.history['val_accuracy'][-1]:.3f}")
