"""The table of the zoo: what works on which model, and what is refused and why.

`make zoo PYTEST_ARGS=--record-zoo` writes it for the pages; any other run fails where
it differs from what happens.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "docs" / "_data"
FILE = DATA / "zoo.json"
PAGE = DATA / "zoo.txt"
PROPERTY = "zoo"

Table = dict[str, dict[str, str]]
"""For each model what each operation said."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keras_dnn")
    group.addoption(
        "--zoo", action="store_true", help="run the battery on all models of the zoo"
    )
    group.addoption("--record-zoo", action="store_true", help=f"write {FILE.name}")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if config.getoption("--zoo"):
        return
    left = [item for item in items if item.get_closest_marker("zoo_all")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if not item.get_closest_marker("zoo_all")]


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-zoo") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


class Recorder:
    """Collects what the tests found, from the reports of all workers."""

    def __init__(self) -> None:
        self.found: Table = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                if name == PROPERTY:
                    model, said = value
                    self.found.setdefault(model, {}).update(said)

    def pytest_sessionfinish(self) -> None:
        # Imported here, for every run of the tests loads this plugin.
        from tests.zoo.all_models import ZOO
        from tests.zoo.page import rendered

        table = {
            model: dict(sorted((recorded().get(model, {}) | said).items()))
            for model in ZOO
            if (said := self.found.get(model, {})) or model in recorded()
        }
        FILE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(rendered(table), encoding="utf-8")


def recorded() -> Table:
    """The table as it was last recorded."""
    found: Table = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return found
