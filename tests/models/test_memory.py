"""Memory: bounded for any number of rows, a few times a large model for runtimes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's count of memory"
)

MEASURE = """
import shutil, sys
from pathlib import Path
import keras
import numpy as np
from keras import layers

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(key)) * 1024

def begin():
    '''Begins a new peak.'''
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")

random = np.random.default_rng(0)
"""

FOLD = """
from keras_dnn.models import fold_batch_norm
i = x = keras.Input((16, 16, 3))
for _ in range(4):
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3)(x)))
model = keras.Model(i, layers.GlobalAveragePooling2D()(x))
x = random.normal(size=(4000, 16, 16, 3)).astype("float32")
model.predict(x, verbose=0)
fold_batch_norm(model, data=x[:1100])
before = begin()
fold_batch_norm(model, data=x)
print(status("VmHWM") - before)
"""

MODEL = """
width = 2100
model = keras.Sequential(
    [
        keras.Input((width,)),
        layers.Dense(width, "relu"),
        layers.BatchNormalization(),
        layers.Dense(width, "relu"),
        layers.Dense(10),
    ]
)
x = random.normal(size=(8, width)).astype("float32")
model.predict(x, verbose=0)
size = 4 * model.count_params()
"""

ALL = """
from keras_dnn.models import optimize_for_inference
from keras_dnn.models._measuring import benchmark
stored = benchmark.stored

def keep(files, folder):
    found = stored(files, folder)
    shutil.copytree(found.folder, Path(sys.argv[1]) / str(len(kept)))
    kept.append(found)
    return found

kept, benchmark.stored = [], keep
before = begin()
names = ["tf.function", "folded tf.function", "frozen graph", "TFLite float32"]
result = optimize_for_inference(model, x, rounds=1, verbose=0, candidates=names)
assert not any(c.failure for c in result.candidates), result
print((status("VmHWM") - before) / size)
"""

LARGEST = """
from keras_dnn.models._runtimes.stored_files import StoredFiles
from keras_dnn.models.runtimes import runtime_of
before = begin()
run = runtime_of("frozen graph").load(StoredFiles(Path(sys.argv[1]) / "2"), 1)
run([x])
print((status("VmHWM") - before) / size)
"""


def measured(*parts, folder=""):
    """What a process of its own prints, as a number."""
    done = subprocess.run(
        [sys.executable, "-c", "".join([MEASURE, *parts]), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.mark.slow
def test_the_error_of_folding_takes_bounded_memory():
    # Beyond what 1,100 rows take. All activations would be 258 MB in float64.
    assert measured(FOLD) < 30e6


@pytest.mark.slow
def test_candidates_take_a_few_models_more_than_the_largest_of_them(tmp_path):
    # TensorFlow alone holds a frozen graph several times while it loads one. Candidates
    # that stayed in memory would add to that.
    everything = measured(MODEL, ALL, folder=tmp_path)
    largest = measured(MODEL, LARGEST, folder=tmp_path)
    assert everything - largest < 8
