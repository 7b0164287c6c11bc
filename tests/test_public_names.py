"""Every public name is documented in one fixed order, and has a place in the pages.

The order: one sentence, then `Args` that name every argument and no other, `Returns`,
`Raises`, `Example` and `Reference`, each where there is something to say.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

import keras_dnn
from keras_dnn._result import Result

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "Reference")
# The public classes of these packages implement papers. Their base classes do not, and
# live in private modules. Elsewhere a module that cites a year needs the reference too.
PACKAGES_OF_PAPERS = {
    "keras_dnn.layers",
    "keras_dnn.optimizers",
    "keras_dnn.optimizers.schedules",
}
YEAR = re.compile(r"\b(19|20)\d\d\b")
PAGES = Path(__file__).parent.parent / "docs" / "api"


class Public(NamedTuple):
    """What a package offers, or a method or property of a class in it."""

    path: str
    value: Any

    @property
    def package(self) -> str:
        return self.path.rpartition(".")[0]


def packages() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(keras_dnn.__path__, "keras_dnn."):
        if module.ispkg and "._" not in module.name:
            yield importlib.import_module(module.name)


def names() -> Iterator[Public]:
    for package in packages():
        for name in package.__all__:
            if not isinstance(getattr(package, name), ModuleType):
                yield Public(f"{package.__name__}.{name}", getattr(package, name))


def members(cls: Public) -> Iterator[Public]:
    """What a class, or a base of it in the package, adds to what Keras has.

    An override is left to the documentation of what it overrides.
    """
    if not isinstance(cls.value, type):
        return
    for name in sorted({name for base in cls.value.__mro__ for name in vars(base)}):
        found = [vars(base)[name] for base in cls.value.__mro__ if name in vars(base)]
        if name.startswith("_") or len(found) > 1 or not is_ours(function_of(found[0])):
            continue
        yield Public(f"{cls.path}.{name}", found[0])


def function_of(value: Any) -> Any:
    """The function with the arguments: a constructor, a getter, what is wrapped."""
    if isinstance(value, type):
        return value.__init__
    if isinstance(value, property):
        return value.fget
    return inspect.unwrap(getattr(value, "__func__", value))


def is_ours(value: Any) -> bool:
    return isinstance(value, FunctionType) and value.__module__.startswith("keras_dnn")


PACKAGES, NAMES = list(packages()), list(names())
MEMBERS = [member for name in NAMES for member in members(name)]

every_package = pytest.mark.parametrize(
    "package", PACKAGES, ids=lambda package: package.__name__
)
every_name = pytest.mark.parametrize("public", NAMES, ids=[n.path for n in NAMES])
everything = pytest.mark.parametrize(
    "public", NAMES + MEMBERS, ids=[n.path for n in NAMES + MEMBERS]
)


def docstring(value: Any) -> str:
    # Not `inspect.getdoc`, which takes the docstring of a base class.
    return inspect.cleandoc(value.__doc__ or "")


def sections(value: Any) -> dict[str, str]:
    """The text of each section, in the order in which they stand."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", docstring(value), flags=re.M)
    return dict(zip(parts[1::2], map(textwrap.dedent, parts[2::2]), strict=True))


def entries(section: str) -> list[str]:
    return re.findall(r"^(\*{0,2}\w+):", section, re.M)


def arguments(value: Any) -> list[str]:
    function = function_of(value)
    if function is object.__init__ or isinstance(value, property):
        return []
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        stars.get(parameter.kind, "") + name
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", "cls")
    ]


def raised(function: Any, seen: set[Any]) -> set[str]:
    """Errors that a function raises, itself or through functions it calls by name."""
    if not is_ours(function) or function in seen:
        return set()
    seen.add(function)
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError:  # The `__init__` that `dataclass` writes.
        return set()
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
        elif isinstance(node, ast.Call):
            called = named(node.func, function.__globals__)
            found |= raised(function_of(called), seen)
    # Raised by what a subclass must write.
    return found - {"NotImplementedError"}


def named(expression: ast.expr, names: dict[str, Any]) -> Any:
    """What `name` or `module.name` stands for; `None` for anything else."""
    if isinstance(expression, ast.Name):
        return names.get(expression.id)
    if isinstance(expression, ast.Attribute):
        module = named(expression.value, names)
        if isinstance(module, ModuleType):
            return getattr(module, expression.attr, None)
    return None


@every_package
def test_a_package_says_what_it_holds(package: ModuleType) -> None:
    assert re.match(r"[A-Z`].*\.$", docstring(package).partition("\n")[0])


@everything
def test_begins_with_one_sentence_on_a_line_of_its_own(public: Public) -> None:
    assert re.match(r"[A-Z`].*\.(\n\n|$)", docstring(public.value))


@everything
def test_sections_stand_in_the_fixed_order(public: Public) -> None:
    found = list(sections(public.value))
    assert found == [section for section in SECTIONS if section in found]


@everything
def test_names_every_argument_and_no_other(public: Public) -> None:
    value, found = public.value, sections(public.value)
    if isinstance(value, type) and issubclass(value, Result):
        # Made by a function; what one does with it is read it.
        fields = [field.name for field in dataclasses.fields(value)]
        assert entries(found.get("Attributes", "")) == fields
    else:
        assert entries(found.get("Args", "")) == arguments(value)


@everything
def test_says_what_it_returns(public: Public) -> None:
    if not isinstance(public.value, type | property):
        returns = inspect.signature(function_of(public.value)).return_annotation
        nothing = returns in (None, "None")
        assert ("Returns" in sections(public.value)) is not nothing


@everything
def test_says_what_it_raises(public: Public) -> None:
    documented = entries(sections(public.value).get("Raises", ""))
    assert raised(function_of(public.value), set()) <= set(documented)


@every_name
def test_has_an_example(public: Public) -> None:
    if not (isinstance(public.value, type) and issubclass(public.value, Result)):
        assert ">>> " in sections(public.value).get("Example", "")


@every_name
def test_names_its_source(public: Public) -> None:
    module = inspect.getmodule(public.value)
    assert module is not None
    private = module.__name__.rpartition(".")[2].startswith("_")
    paper = public.package in PACKAGES_OF_PAPERS and not private
    is_result = isinstance(public.value, type) and issubclass(public.value, Result)
    if paper or (YEAR.search(docstring(module)) and not is_result):
        assert YEAR.search(sections(public.value).get("Reference", ""))


def on_pages() -> list[str]:
    """The paths of all that `docs/api` takes docstrings from."""
    found, package, cls = [], "", ""
    for page in sorted(PAGES.rglob("*.rst")):
        for line in page.read_text(encoding="utf-8").splitlines():
            kind, _, names = line.strip().lstrip(". :").partition(":")
            if kind in ("automodule", "currentmodule"):
                package = names.lstrip(": ")
            elif kind in ("autoclass", "autofunction"):
                cls = f"{package}.{names.lstrip(': ')}"
                found.append(cls)
            elif kind == "members":
                found += [f"{cls}.{name.strip()}" for name in names.split(",")]
    return found


def documented_as(public: Public) -> str:
    """The path that stands on a page: a probe's hooks are documented with `Probe`."""
    owner, _, name = function_of(public.value).__qualname__.rpartition(".")
    inherited = owner == "Probe" and name != "__init__"
    return f"keras_dnn.callbacks.Probe.{name}" if inherited else public.path


@everything
def test_has_a_place_in_the_api_reference(public: Public) -> None:
    assert on_pages().count(documented_as(public)) == 1
