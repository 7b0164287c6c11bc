"""Every model: saved, compiled by XLA, in mixed precision, with a probe."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_dnn
from keras_dnn import optimizers, pretraining
from keras_dnn.callbacks import GradientNorms
from tests.pretraining.pretraining_cases import images

layers = keras.layers
CLASSES, BINARY = "sparse_categorical_crossentropy", "binary_crossentropy"
X = images(rows=16, side=5).astype("float32")


def small_encoder():
    low = layers.Conv2D(2, 3, 2, activation="relu")
    stack = [keras.Input((5, 5, 1)), low, layers.Flatten(), layers.Dense(3)]
    return keras.Sequential(stack)


def adversaries(encoder):
    generator = [keras.Input((3,)), layers.Dense(25), layers.Reshape((5, 5, 1))]
    output = layers.Dense(1, "sigmoid", dtype="float32")
    return pretraining.gan(
        keras.Sequential(generator), keras.Sequential([encoder, output])
    )


def second_stage(encoder):
    stages = pretraining.stacked_autoencoder(encoder, noise=layers.Dropout(0.1))
    first = next(stages)
    first.compile("adam", "mse")
    first.fit(X, verbose=0)
    return next(stages)


MODELS = {
    "autoencoder": (lambda e: pretraining.autoencoder(e, noise=0.1), "mse"),
    "stage_2": (second_stage, "mse"),
    "masking": (pretraining.masking, "mse"),
    "rotation": (pretraining.rotation, CLASSES),
    "siamese": (pretraining.siamese, BINARY),
    "gan": (adversaries, BINARY),
}


def data_of(name):
    if name == "siamese":
        return [X, X[::-1]], np.arange(16) % 2
    return X, None


def trained(name, callbacks=(), **options):
    build, loss = MODELS[name]
    model = build(small_encoder())
    options = {"optimizer": optimizers.Adam(0.01), **options}
    model.compile(loss=loss, **options)
    logs = model.fit(*data_of(name), batch_size=8, callbacks=callbacks, verbose=0)
    assert np.isfinite(logs.history["loss"]).all()
    return model


LOAD = """
import sys
import keras
import numpy as np
import keras_dnn

folder = sys.argv[1]
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    with np.load(f"{folder}/{name}.npz") as saved:
        x = list(saved.values())[:-1]
        x = x[0] if len(x) == 1 else x
        np.testing.assert_allclose(model(x), saved["y"], rtol=1e-5, atol=1e-6)
    assert int(model.optimizer.iterations) == 2, name
    if name == "rotation":
        model.fit(x, verbose=0)
        assert int(model.optimizer.iterations) == 3
"""


def test_they_load_in_a_new_process_and_continue_training(tmp_path):
    for name in MODELS:
        model = trained(name)
        x = data_of(name)[0]
        arrays = {f"x{i}": a for i, a in enumerate(keras.tree.flatten(x))}
        np.savez(tmp_path / f"{name}.npz", **arrays, y=model(x))
        model.save(tmp_path / f"{name}.keras")
    run = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path, *MODELS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(keras_dnn.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.parametrize("name", ["masking", "gan"])
def test_xla_compiles_them(name):
    trained(name, jit_compile=True)


@pytest.mark.parametrize("name", ["masking", "rotation"])
def test_outputs_and_weights_are_precise_in_mixed_precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = trained(name, optimizer="adam")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        assert model(X).dtype == "float32"
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
    finally:
        keras.config.set_dtype_policy(before)


def test_gradient_norms_sees_every_step():
    norms = GradientNorms()
    model = trained("gan", [norms], optimizer=optimizers.Momentum(0.01))
    assert norms.norms.shape == (2, len(model.trainable_variables))
    assert (norms.global_norms > 0).all()
