"""What `preflight` costs: ResNet50, one batch of 32 images of 96 x 96.

The unit is a training step on the same batch, traced and warm. The least that
preflight can cost is one such step to measure the signal and the steps in which it
memorises a few examples: at most 80, on 4 examples, as much as 10 steps on 32. The rest
is that they run eagerly, since tracing would take longer than it saves.
"""

import time

import keras
import numpy as np
from interleaved import machine

from keras_dnn.diagnostics import preflight

ROUNDS = 3

keras.utils.set_random_seed(0)
model = keras.applications.ResNet50(weights=None, input_shape=(96, 96, 3), classes=10)
model.compile("adam", "sparse_categorical_crossentropy")
rng = np.random.default_rng(0)
x = rng.normal(size=(32, 96, 96, 3)).astype("float32")
y = rng.integers(0, 10, 32)

model.train_on_batch(x, y)  # Traces the step.
weights = model.get_weights()
steps, checks = [], []
for _ in range(ROUNDS):
    started = time.perf_counter()
    report = preflight(model, x, y, verbose=0)
    checks.append(time.perf_counter() - started)
    started = time.perf_counter()
    model.train_on_batch(x, y)
    steps.append(time.perf_counter() - started)
    model.set_weights(weights)

print(machine())
print(f"\n{report.summary}")
step, check = np.median(steps), np.median(checks)
print(
    f"a training step {step:.2f} s, preflight {check:.1f} s ({check / step:.1f} steps)"
)
