"""The timeout ends a training that hangs, and no other."""

import subprocess
import sys
from pathlib import Path

import pytest

import keras_dnn
from keras_dnn.distribution import StepTimeout

TRAINING = """
import sys, time
import keras, numpy as np
from keras_dnn.distribution import StepTimeout

class Sleep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep({sleep})
        {then}

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
timeout = StepTimeout(2)
try:
    x = np.ones((8, 3))
    model.fit(x, x[:, :1], 2, {epochs}, callbacks=[timeout, Sleep()])
except KeyError:
    print("raised")
time.sleep(3)
print("still running")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sleep", "then", "epochs", "status", "message"),
    [
        (60, "", 1, 75, "No step has ended for 2 seconds"),
        (0.3, "", 3, 0, "still running"),
        (0, "raise KeyError", 1, 0, "raised\nstill running"),
    ],
    ids=["hangs", "is slow", "raises"],
)
def test_the_end_of_a_training_that(sleep, then, epochs, status, message):
    code = TRAINING.format(sleep=sleep, then=then, epochs=epochs)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(keras_dnn.__file__).parents[1],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == status, done.stderr[-3000:]
    assert message in done.stderr + done.stdout
    # The stack shows the callback that sleeps.
    assert ("on_train_batch_end" in done.stderr) is (status == 75)


@pytest.mark.parametrize("seconds", [0, -1, "10"])
def test_bad_arguments(seconds):
    with pytest.raises(ValueError, match=r"seconds must be a number in \(0, inf\)"):
        StepTimeout(seconds)
