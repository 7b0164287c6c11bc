"""Fixtures for the tests of callbacks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.callbacks import resumed_training

Ends = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def ends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Ends]:
    """Where a case of the module's `CASES` ends: uninterrupted, and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    module = request.module
    subprocess.run(
        [sys.executable, "-m", resumed_training.__name__, module.__name__, str(folder)],
        check=True,
        timeout=1200,
        cwd=Path(__file__).parents[2],
    )

    def of_case(name: str) -> Ends:
        names = module.CASES[name].uninterrupted, name
        first, second = (resumed_training.load(folder / f"{n}.npz") for n in names)
        return first, second

    return of_case
