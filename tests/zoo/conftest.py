"""Runs a group of operations on a model and holds it against the recorded table."""

from collections.abc import Callable

import pytest

import tests.zoo.operations  # noqa: F401
from tests.zoo.battery import outcomes
from tests.zoo.model_case import ZooModel
from tests.zoo.record import PROPERTY, recorded


@pytest.fixture
def run(
    record_property: Callable[[str, object], None], pytestconfig: pytest.Config
) -> Callable[[str, ZooModel], None]:
    """Fails with a line for each operation that does not end as it should."""

    def run_group(group: str, zoo: ZooModel) -> None:
        found = outcomes(group, zoo)
        faults = [f"{name}: {end.fault}" for name, end in found.items() if end.fault]
        assert not faults, "\n".join([f"on {zoo.name}:", *faults])
        said = {name: end.said for name, end in found.items()}
        record_property(PROPERTY, [zoo.name, said])
        if not pytestconfig.getoption("--record-zoo"):
            table = recorded().get(zoo.name, {})
            was = {name: table.get(name) for name in said}
            assert said == was, "record again: make zoo PYTEST_ARGS=--record-zoo"

    return run_group


@pytest.fixture(autouse=True, scope="module")
def _optimizers_of_keras() -> None:
    """Keras's optimizers stay as they are: the first step is traced twice."""
