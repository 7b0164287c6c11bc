"""The timeout ends a training that hangs, and no other."""

import subprocess
import sys
from pathlib import Path

import pytest

import keras_dnn
from keras_dnn.distribution import StepTimeout

TRAINING = """
import time
import keras, numpy as np
from keras_dnn.distribution import StepTimeout

class Delay(keras.callbacks.Callback):
    def __init__(self, seconds, fails=False):
        super().__init__()
        self.seconds, self.fails = seconds, fails

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)
        if self.fails:
            raise KeyError

def fit(epochs, **options):
    x = np.ones((8, 3))
    callbacks = [StepTimeout(4), Delay(**options)]
    model.fit(x, x[:, :1], 2, epochs, callbacks=callbacks, verbose=0)

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
try:
    fit(1, seconds=0, fails=True)
except KeyError:
    time.sleep(5)
    print("running after an exception", flush=True)
fit(3, seconds=0.5)
print("running after slow steps", flush=True)
time.sleep(5)
print("running after the end", flush=True)
fit(1, seconds=60)
print("running after a step that hangs", flush=True)
"""


@pytest.mark.slow
def test_only_a_step_that_hangs_ends_the_process():
    done = subprocess.run(
        [sys.executable, "-c", TRAINING],
        cwd=Path(keras_dnn.__file__).parents[1],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 75, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "running after an exception",
        "running after slow steps",
        "running after the end",
    ]
    assert "No step has ended for 4 seconds" in done.stderr
    # The stack shows the callback that sleeps.
    assert "on_train_batch_end" in done.stderr


@pytest.mark.parametrize("seconds", [0, -1, "10"])
def test_bad_arguments(seconds):
    with pytest.raises(ValueError, match=r"seconds must be a number in \(0, inf\)"):
        StepTimeout(seconds)
