"""All networks: importing a half enters its networks."""

import importlib
from pathlib import Path

from diagnosed.case import CASES, Case, half


def cases(which: str) -> list[Case]:
    """The networks of a half, healthy ones first."""
    folder = Path(__file__).parent / which
    for file in sorted(folder.glob("*_*.py")):
        if not file.name.startswith("__"):
            importlib.import_module(f"diagnosed.{which}.{file.stem}")
    found = [case for case in CASES.values() if f".{which}." in case.make.__module__]
    wrong = [case.name for case in found if half(case.name) != which]
    assert not wrong, f"these belong to the other half: {', '.join(wrong)}"
    return found
