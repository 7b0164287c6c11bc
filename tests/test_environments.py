"""The environments of other versions and backends agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = Path(__file__).parent / "environments"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS = PROJECT["optional-dependencies"]


def required(requirements):
    """The lowest version of each package, those of other extras too."""
    found = {}
    for requirement in requirements:
        inner = re.fullmatch(r"keras_dnn\[(.*)\]", requirement)
        if inner:
            for extra in inner[1].split(","):
                found |= required(EXTRAS[extra])
        else:
            name, lowest = re.fullmatch(r"([\w-]+)[>~=]=([\d.]+)", requirement).groups()
            found[name] = lowest
    return found


def pinned(name):
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==(.*)$", text, re.M))


def test_the_lowest_versions_are_the_bounds_of_the_project():
    assert pinned("lowest") == required(
        [*PROJECT["dependencies"], "keras_dnn[test]", "keras_dnn[all]"]
    )


def test_the_readme_names_the_same_bounds():
    bounds = required(PROJECT["dependencies"])
    python = PROJECT["requires-python"].removeprefix(">=")
    sentence = (
        f"It needs Python ≥ {python}, Keras ≥ {bounds['keras']} and "
        f"TensorFlow ≥ {bounds['tensorflow']}."
    )
    assert sentence in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_has_versions_that_the_project_allows(backend):
    pins = pinned(backend)
    assert backend in pins
    assert "tensorflow" not in pins
    lowest = required([*PROJECT["dependencies"], "keras_dnn[all]"])

    def numbers(version):
        return [int(part) for part in version.split(".")]

    for name in pins.keys() & lowest.keys():
        assert numbers(pins[name]) >= numbers(lowest[name]), name


def test_every_environment_of_the_makefile_has_its_file():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    backends = re.search(r"^BACKENDS \?= (.*)$", makefile, re.M)[1].split()
    named = re.findall(r"^test-\w+: \.venv-(\w+)/", makefile, re.M)
    files = sorted(file.stem for file in FOLDER.glob("*.txt"))
    assert sorted([*named, *backends]) == files
