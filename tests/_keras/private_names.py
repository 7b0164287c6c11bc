"""Finds where source code touches a private name of Keras or TensorFlow."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras

import keras_dnn

PRIVATE = re.compile(r"_[a-z]\w*")
MODULES = ("keras.src", "tensorflow.python", "tf.__internal__", "unittest")
CALLS = (
    "sys._getframe",
    "sys._current_frames",
    "inspect.stack",
    "inspect.currentframe",
)


class Use(NamedTuple):
    """A private name in a line of a file."""

    name: str
    line: int


def defined_in(tree: ast.AST) -> Iterator[str]:
    """The private names that a module defines: functions, attributes, variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            # On another object it is a use.
            name = node.attr if _is_self(node.value) else ""
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        else:
            continue
        if PRIVATE.fullmatch(name):
            yield name


def _trees(package: str) -> Iterator[ast.AST]:
    for file in Path(package).rglob("*.py"):
        if not file.name.endswith("_test.py"):
            yield ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def of_keras() -> frozenset[str]:
    """The private names that any module of Keras defines."""
    folder = Path(keras.__file__).parent / "src"
    return frozenset(name for tree in _trees(folder) for name in defined_in(tree))


@functools.cache
def of_ours() -> frozenset[str]:
    """The private names that this package defines, on objects that are its own."""
    folder = Path(keras_dnn.__file__).parent
    return frozenset(name for tree in _trees(folder) for name in defined_in(tree))


def uses(source: str) -> Iterator[Use]:
    """The private names of others that a module touches, `self` aside."""
    tree = ast.parse(source)
    own = set(defined_in(tree)) | {
        node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)
    }
    endings = {
        id(a) for node in ast.walk(tree) if _is_ending(node) for a in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
            yield from (Use(n, node.lineno) for n in names if n.startswith(MODULES))
        elif isinstance(node, ast.Attribute):
            path = ast.unparse(node)
            if path in MODULES or path in CALLS:
                yield Use(path, node.lineno)
            elif (
                PRIVATE.fullmatch(node.attr)
                and not _is_self(node.value)
                and not _is_module(node, tree)
                and path != "os._exit"
                and (node.attr not in of_ours() or node.attr in of_keras() - own)
            ):
                yield Use(node.attr, node.lineno)
        elif isinstance(node, ast.keyword) and node.arg in of_keras() - own:
            # As in `vars(layer).update(_losses=[])`.
            yield Use(str(node.arg), node.value.lineno)
        elif (
            isinstance(node, ast.Constant)
            and node.value in of_keras() - own
            and id(node) not in endings
        ):
            yield Use(node.value, node.lineno)


def _is_ending(node: ast.AST) -> bool:
    """Whether it is `text.endswith("_initializer")` or `f"{name}_loss"`."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "endswith"
    )


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_module(node: ast.Attribute, tree: ast.AST) -> bool:
    """Whether an attribute is that of a module that the source imports of ours."""
    return isinstance(node.value, ast.Name) and any(
        isinstance(other, ast.ImportFrom)
        and (other.module or "").startswith("keras_dnn")
        and any((a.asname or a.name) == node.value.id for a in other.names)
        for other in ast.walk(tree)
    )


def classes_on_keras() -> Iterator[type]:
    """The classes of this package, outside the door, that inherit from Keras."""
    for module in pkgutil.walk_packages(keras_dnn.__path__, "keras_dnn."):
        if "_keras" in module.name or module.name.endswith(("_worker", "quantize")):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if (
                isinstance(value, type)
                and value.__module__ == module.name
                and any(_is_of_keras(base) for base in value.__mro__)
            ):
                yield value


def _is_of_keras(base: type) -> bool:
    return base.__module__.startswith(("keras.", "keras_dnn._keras"))


@functools.cache
def of_class(base: type) -> frozenset[str]:
    """The private names that a class of Keras, by itself, defines."""
    if not _is_of_keras(base) or base.__module__.startswith("keras_dnn"):
        return frozenset()
    return frozenset(defined_in(_tree(base)))


def inherited_uses(cls: type) -> set[str]:
    """The private names of its Keras bases that a class overrides or reads."""
    tree = _tree(cls)
    names = set(defined_in(tree)) | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and PRIVATE.fullmatch(node.attr)
        and (_is_self(node.value) or ast.unparse(node.value) == "super()")
    }
    return {n for base in cls.__mro__ for n in of_class(base) & names}


def _tree(cls: type) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(cls)))
