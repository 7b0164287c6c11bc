"""Every public name on JAX and PyTorch: it works, to the same numbers, or says why not.

`make test-backends` names an interpreter for each of them; without one nothing runs.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.backends.examples import NEEDS_TENSORFLOW, examples, needs_tensorflow
from tests.backends.numbers import FAILS_ON, NUMBERS
from tests.backends.record import number

ROOT = Path(__file__).parents[2]
EXAMPLES = examples()
WORKERS = "distribution.MultiWorkerStrategy"
"""Its example starts workers, in which it refuses; `numbers` has its refusal."""


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        given = metafunc.config.getoption("--backend")
        metafunc.parametrize("backend", given, scope="session", ids=str)


@pytest.fixture(scope="session")
def recorded(backend, tmp_path_factory):
    """What the examples and numbers give there."""
    name, _, python = backend.partition("=")
    out = tmp_path_factory.mktemp(name) / "recorded.json"
    run = subprocess.run(
        [ROOT / python, "-m", "tests.backends.record", out],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(out.read_text())


def test_it_runs_there_without_tensorflow(backend, recorded):
    assert backend.startswith(recorded["backend"])
    assert not recorded["tensorflow"]


def refuses(problem, backend):
    """Whether it says that it does not work on this backend, and what to do."""
    return problem["kind"] == "RuntimeError" and all(
        words in problem["message"]
        for words in ("KERAS_BACKEND=tensorflow", f"backend={backend!r}")
    )


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path != WORKERS])
def test_a_name_works_or_says_why_not(path, backend, recorded):
    problem = recorded["examples"][path]
    name = recorded["backend"]
    if needs_tensorflow(path):
        assert problem is not None
        assert refuses(problem, name), problem
    elif path == "callbacks.GradualUnfreezing" and name == "jax":
        assert refuses(problem, name), problem
    else:
        assert problem is None


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_tensorflow(name, backend, recorded, tensorflow):
    found = recorded["numbers"][name]
    if recorded["backend"] in FAILS_ON.get(name, ()):
        assert refuses(found, recorded["backend"]), found
        return
    assert "value" in found, found
    assert_same(found["value"], tensorflow(name)["value"], name)


@pytest.fixture(scope="session")
def tensorflow():
    """The numbers of TensorFlow, computed here once for all backends."""
    known = {}

    def of(name):
        return known.setdefault(name, known[name] if name in known else number(name))

    return of


def assert_same(found, expected, where):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            assert_same(found[name], expected[name], f"{where}: {name}")
    elif isinstance(expected, list) and not _is_array(expected):
        assert len(found) == len(expected), where
        for i, parts in enumerate(zip(found, expected, strict=True)):
            assert_same(*parts, f"{where}: {i}")
    elif isinstance(expected, str | bool):
        assert found == expected, where
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6, err_msg=where)


def _is_array(values):
    try:
        return np.asarray(values).dtype.kind in "iuf"
    except ValueError:
        return False


def test_the_names_that_need_tensorflow_exist():
    assert EXAMPLES.keys() >= NEEDS_TENSORFLOW
