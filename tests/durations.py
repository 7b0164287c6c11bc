"""How long tests took when `make durations` recorded it, and what follows from that.

Long modules start first, so that no worker is left with one at the end. `--quick` runs
the tests that are fast, and the first case of each that is marked `quick`.
"""

import collections
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("durations.json")
SLOW = 0.25
"""Seconds of its slowest case from which a test is left out by `--quick`."""

WORTH_RECORDING = 0.1


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keras_dnn")
    group.addoption("--quick", action="store_true", help="run the fast tests only")
    group.addoption(
        "--record-durations", action="store_true", help=f"write {FILE.name}"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    recorded = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    modules = recorded.get("modules", {})
    items.sort(key=lambda item: -modules.get(module_of(item.nodeid), 0.0))
    if config.getoption("--quick"):
        chosen = list(quick(items, recorded.get("slowest_case", {})))
        kept = set(map(id, chosen))
        config.hook.pytest_deselected(items=[i for i in items if id(i) not in kept])
        items[:] = chosen


def quick(items: list[pytest.Item], slowest: dict[str, float]) -> Iterator[pytest.Item]:
    """The fast tests, and the first case of each that is marked `quick`."""
    seen = set()
    for item in items:
        function = function_of(item.nodeid)
        slow = item.get_closest_marker("slow") or slowest.get(function, 0.0) > SLOW
        first = item.get_closest_marker("quick") and function not in seen
        if first or not slow:
            yield item
        seen.add(function)


class Recorder:
    """Writes what each test took, from the reports of all workers."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        slowest: dict[str, float] = collections.defaultdict(float)
        modules: dict[str, float] = collections.defaultdict(float)
        for nodeid, seconds in self.seconds.items():
            function = function_of(nodeid)
            slowest[function] = max(slowest[function], round(seconds, 2))
            modules[module_of(nodeid)] += seconds
        recorded = {
            "modules": {name: round(s, 1) for name, s in sorted(modules.items())},
            "slowest_case": {
                name: s for name, s in sorted(slowest.items()) if s > WORTH_RECORDING
            },
        }
        FILE.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


def function_of(nodeid: str) -> str:
    return nodeid.partition("[")[0]


def module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]
