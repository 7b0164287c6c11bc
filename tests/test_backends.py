"""Keras's NumPy backend: what works there, and what says that it cannot.

That backend needs JAX and SciPy for convolutions and linear algebra. Where they are
missing, empty modules take their places, as nothing here convolves.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import keras_dnn

STAND_INS = """
import importlib.abc, importlib.machinery, importlib.util, sys
from unittest import mock

class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "scipy"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = mock.MagicMock(name=spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass

if not all(map(importlib.util.find_spec, ("jax", "scipy"))):
    sys.meta_path.insert(0, StandIn())
"""
START = """
import keras
import numpy as np
assert keras.backend.backend() == "numpy"
import keras_dnn
"""


def on_numpy(code):
    """Runs `code` in a new process with that backend; returns what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", STAND_INS + START + textwrap.dedent(code)],
        cwd=Path(keras_dnn.__file__).parents[1],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_importing_it_does_not_import_tensorflow():
    on_numpy(
        """
        import sys
        assert "tensorflow" not in sys.modules
        assert "keras_dnn.optimizers" in sys.modules
        """
    )


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("Nesterov", "keras_dnn.optimizers.Nesterov()"),
        (
            "GradientNorms",
            """
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
            probe = keras_dnn.callbacks.GradientNorms()
            probe.set_model(model)
            probe.on_train_begin()
            """,
        ),
        (
            "mc_predict",
            """
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
            keras_dnn.models.mc_predict(model, np.ones((2, 3)))
            """,
        ),
    ],
)
def test_what_needs_tensorflow_says_so_and_what_to_do(name, use):
    message = on_numpy(
        "try:\n"
        + textwrap.indent(textwrap.dedent(use), "    ")
        + "\nexcept RuntimeError as error:\n    print(error)\n"
    )
    assert name in message
    assert "TensorFlow" in message
    assert "KERAS_BACKEND=tensorflow" in message
    assert "backend='numpy'" in message


def test_schedules_have_their_values():
    on_numpy(
        """
        schedule = keras_dnn.optimizers.schedules.OneCycle(
            1.0, 101, initial_divisor=10, warmup_fraction=0.5, final_fraction=0.0
        )
        values = schedule.values(np.arange(101))
        np.testing.assert_allclose(values[[0, 25, 50]], [0.1, 0.55, 1.0], rtol=1e-5)
        assert abs(float(schedule(25)) - 0.55) < 1e-5
        momentum = schedule.momentum(0.95, 0.85)
        np.testing.assert_allclose(
            momentum.values(np.array([0, 25, 50])), [0.95, 0.9, 0.85], rtol=1e-5
        )
        """
    )


def test_mc_dropout_is_random():
    on_numpy(
        """
        model = keras.Sequential(
            [keras.Input((10_000,)), keras_dnn.layers.MCDropout(0.5, seed=1)]
        )
        x = np.ones((1, 10_000), "float32")
        first, second = model(x), model(x, training=False)
        assert set(np.unique(first)) == {0.0, 2.0}
        assert 4700 < np.count_nonzero(first) < 5300
        assert (first != second).any()
        """
    )


def test_batch_norm_folds():
    on_numpy(
        """
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(4),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(2),
            ]
        )
        norm = model.layers[1]
        rng = np.random.default_rng(0)
        norm.set_weights([rng.uniform(0.5, 2, 4) for _ in norm.weights])
        result = keras_dnn.models.fold_batch_norm(model)
        assert not any(
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in result.model.layers
        )
        x = rng.normal(size=(5, 3)).astype("float32")
        np.testing.assert_allclose(result.model(x), model(x), rtol=1e-4, atol=1e-5)
        """
    )


def test_initializers_have_their_variance_and_lsuv_its_target():
    on_numpy(
        """
        from keras_dnn import initializers
        for name in ("GlorotNormal", "HeUniform", "LeCunNormal"):
            initializer = getattr(initializers, name)(gain="tanh")
            weights = initializer((300, 300))
            scale = initializer.scale * initializers.calculate_gain("tanh") ** 2
            np.testing.assert_allclose(np.var(weights), scale / 300, rtol=0.03)
            assert (weights != initializer((300, 300))).any()
        kernel = initializers.DeltaOrthogonal(groups=2)((3, 4, 12))
        first = kernel[1, :, :6]
        np.testing.assert_allclose(first @ first.T, np.eye(4), atol=1e-5)
        assert not kernel[[0, 2]].any()
        hidden = [keras.layers.Dense(8, "elu") for _ in range(4)]
        model = keras.Sequential([keras.Input((8,)), *hidden])
        initializers.initialize(model, initializers.HeNormal(seed=1))
        x = np.random.default_rng(0).normal(2, 3, (64, 8)).astype("float32")
        result = initializers.lsuv(model, x, verbose=0)
        np.testing.assert_allclose(result.after, 1.0, rtol=0.01)
        """
    )


def test_a_hierarchical_softmax_is_a_distribution_with_its_loss():
    on_numpy(
        """
        from keras_dnn import layers
        rng = np.random.default_rng(0)
        layer = layers.HierarchicalSoftmax(50, frequencies=rng.uniform(size=50))
        x, y = rng.normal(size=(30, 4)).astype("float32"), rng.integers(0, 50, 30)
        p = layer(x)
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
        expected = -np.log(p[np.arange(30), y]).mean()
        loss = layers.HierarchicalCrossentropy()
        np.testing.assert_allclose(loss(y, p), expected, rtol=1e-5)
        best, classes = layers.HierarchicalTopK(layer, k=3)(x)
        np.testing.assert_array_equal(classes, np.argsort(-p)[:, :3])
        """
    )
