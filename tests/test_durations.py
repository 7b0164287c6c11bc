"""What `make quick` runs, and in which order the tests run."""

import types

import pytest

from tests.durations import SLOW, pytest_collection_modifyitems, quick


def item(nodeid, *marks):
    return types.SimpleNamespace(
        nodeid=nodeid, get_closest_marker=lambda name: name in marks
    )


def test_quick_takes_fast_tests_and_the_first_case_of_those_marked_quick():
    items = [
        item("tests/a.py::test_fast"),
        item("tests/a.py::test_slow[1]"),
        item("tests/a.py::test_marked", "slow"),
        item("tests/a.py::test_stands_for_it[1]", "slow", "quick"),
        item("tests/a.py::test_stands_for_it[2]", "slow", "quick"),
    ]
    slowest = {"tests/a.py::test_slow": 2 * SLOW, "tests/a.py::test_fast": SLOW}
    chosen = [i.nodeid.partition("::")[2] for i in quick(items, slowest)]
    assert chosen == ["test_fast", "test_stands_for_it[1]"]


@pytest.mark.parametrize("only_quick", [False, True])
def test_long_modules_come_first(only_quick, monkeypatch, tmp_path):
    file = tmp_path / "durations.json"
    file.write_text('{"modules": {"a.py": 1.0, "b.py": 9.0}, "slowest_case": {}}')
    monkeypatch.setattr("tests.durations.FILE", file)
    items = [item("a.py::x"), item("c.py::x"), item("b.py::x"), item("a.py::y")]
    config = types.SimpleNamespace(
        getoption=lambda name: only_quick,
        hook=types.SimpleNamespace(pytest_deselected=lambda items: None),
    )
    pytest_collection_modifyitems(config, items)
    assert [i.nodeid for i in items] == ["b.py::x", "a.py::x", "a.py::y", "c.py::x"]
