"""What `import keras_dnn` brings, and what it leaves alone."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_dnn

ROOT = Path(keras_dnn.__file__).parents[1]
# Extras, and what only the rivals need.
NEVER = ["keras_tuner", "scipy", "tensorboard", "torch", "jax", "onnx", "sklearn"]


def imported(code):
    """Names of all modules that a new process has after running `code`."""
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]))",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(json.loads(out.splitlines()[-1]))


@pytest.fixture(scope="module")
def brought():
    """What `keras_dnn` adds to what `keras` has imported itself."""
    # Keras 3.15 imports matplotlib, if it is there: hide it from Keras only.
    hide = "import sys\nsys.modules['matplotlib'] = None\nimport keras\n"
    show = "del sys.modules['matplotlib']\nbefore = set(sys.modules)\n"
    drop = "\nfor name in before: sys.modules.pop(name, None)"
    return imported(f"{hide}{show}import keras_dnn{drop}")


def test_importing_it_brings_no_extra(brought):
    assert "keras_dnn.optimizers.schedules.one_cycle" in brought
    found = {name.split(".")[0] for name in brought}
    assert not found & {*NEVER, "matplotlib"}


def test_importing_it_brings_nothing_beyond_keras_numpy_and_tensorflow(brought):
    found = {name.split(".")[0] for name in brought}
    allowed = {"keras_dnn", "keras", "numpy", "tensorflow"} | sys.stdlib_module_names
    assert found <= allowed


def test_importing_it_does_not_import_plotting(brought):
    assert not any(name.startswith("keras_dnn.plotting") for name in brought)


def test_all_names_every_public_package_that_is_imported():
    packages = {
        module.name
        for module in pkgutil.iter_modules(keras_dnn.__path__)
        if module.ispkg and not module.name.startswith("_")
    }
    # `plotting` needs an extra, so one imports it by name.
    assert set(keras_dnn.__all__) == {"__version__"} | (packages - {"plotting"})
    assert sorted(keras_dnn.__all__) == keras_dnn.__all__


@pytest.mark.parametrize(
    "package",
    [
        "callbacks",
        "distribution",
        "layers",
        "models",
        "optimizers",
        "optimizers.schedules",
        "plotting",
        "pretraining",
        "recipes",
        "tuning",
    ],
)
def test_each_package_shows_its_names_and_no_others(package):
    module = importlib.import_module(f"keras_dnn.{package}")
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", "").startswith("keras_dnn")
    }
    packages = {name for name in module.__all__ if name not in public}
    assert public <= set(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in packages:
        assert importlib.import_module(f"keras_dnn.{package}.{name}")


def test_the_version_is_that_of_the_package():
    assert keras_dnn.__version__.count(".") == 2


def test_what_no_saved_model_needs_is_imported_when_it_is_used():
    use = "import keras_dnn\nkeras_dnn.tuning.compare\nkeras_dnn.plotting\n"
    unused = imported("import keras_dnn")
    lazy = {f"keras_dnn.{name}" for name in ("distribution", "recipes", "tuning")}
    assert not lazy & unused
    assert "keras_dnn.tuning" in imported(use)
    assert set(keras_dnn.__all__) <= set(dir(keras_dnn))
    with pytest.raises(AttributeError, match="has no attribute 'optimisers'"):
        _ = keras_dnn.optimisers
