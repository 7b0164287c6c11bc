"""All private names of Keras and TensorFlow are touched in one place, and watched."""

import ast
import pydoc
from pathlib import Path

import keras
import pytest

import keras_dnn
from tests._keras.canaries import CANARIES, PATHS
from tests._keras.optimizer_canaries import OPTIMIZER_CANARIES
from tests._keras.private_names import (
    PRIVATE,
    classes_on_keras,
    inherited_uses,
    of_keras,
    uses,
)

PACKAGE = Path(keras_dnn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
DOOR = [file for file in FILES if "_keras" in file.parts]
OTHERS = [file for file in FILES if file not in DOOR]


@pytest.mark.parametrize("file", OTHERS, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_nothing_else_touches_a_private_name(file):
    found = list(uses(file.read_text(encoding="utf-8")))
    assert not found, f"{file.name} should ask keras_dnn._keras for {found}"


@pytest.mark.parametrize(
    "cls", list(classes_on_keras()), ids=lambda c: f"{c.__module__[10:]}.{c.__name__}"
)
def test_no_class_overrides_or_reads_a_private_name_of_its_base(cls):
    found = inherited_uses(cls)
    assert not found, f"{cls.__name__} should go through a base in _keras for {found}"


@pytest.mark.parametrize(
    "source",
    [
        "from keras.src.models import Functional",
        "import unittest.mock",
        "from unittest import mock",
        "from tensorflow.python.framework import ops",
        "tf.__internal__.distribute.interim.maybe_merge_call(f)",
        "model._nodes_by_depth",
        "optimizer._learning_rate = 3",
        "getattr(model, '_functional', None)",
        "vars(optimizer)['_clip_gradients'] = f",
        "vars(layer).update(_losses=[])",
        "frame = sys._getframe(1)",
        "keras.src.backend.random",
    ],
)
def test_the_search_finds_a_private_name(source):
    assert list(uses(source))


@pytest.mark.parametrize("source", ["self._mine", "'_ of'", "_x = 1"])
def test_the_search_leaves_names_of_ours_alone(source):
    assert not list(uses(source))


def test_the_search_finds_overrides():
    class Mine(keras.optimizers.SGD):
        def _clip_gradients(self, grads):
            return grads

    class Reads(keras.optimizers.SGD):
        def rate(self):
            return self._learning_rate

    assert inherited_uses(Mine) == {"_clip_gradients"}
    assert inherited_uses(Reads) == {"_learning_rate"}


def test_the_search_walks_the_whole_package():
    assert len(OTHERS) > 200
    assert {"callbacks", "models", "optimizers"} <= {f.parent.name for f in OTHERS}


# Canaries -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANARIES)
def test_keras_still_has(name):
    owner, promise = CANARIES[name]
    assert hasattr(owner(), name), f"Keras {keras.__version__} has no {name}: {promise}"


@pytest.mark.parametrize("path", PATHS)
def test_keras_still_has_the_path(path):
    assert pydoc.locate(path) is not None, (
        f"Keras {keras.__version__} has no {path}: {PATHS[path]}"
    )


def test_every_private_name_has_a_canary_and_every_canary_a_use():
    names = set()
    for file in DOOR:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.keyword):
                names.add(node.arg)
            elif isinstance(node, ast.Constant):
                names.add(node.value)
    found = {n for n in names if isinstance(n, str) and PRIVATE.fullmatch(n)}
    watched = {*CANARIES, *(canary.name for canary in OPTIMIZER_CANARIES)}
    assert found & of_keras() <= watched
    assert {name for name in watched if PRIVATE.fullmatch(name)} <= found
