"""The table of the zoo as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from tests.zoo.all_models import ZOO
from tests.zoo.battery import GROUPS, OPERATIONS, WORKS

OPEN = "*not yet*"
"""Where something of the group does not hold."""


def rendered(table: Mapping[str, Mapping[str, str]]) -> str:
    """A row for each model, a column for each group; refusals as notes below."""
    notes = Notes()
    lines = [
        f"| model | {' | '.join(GROUPS.values())} |",
        f"|---|{'---|' * len(GROUPS)}",
    ]
    for model, said in table.items():
        cells = [cell(group, model, said, notes) for group in GROUPS]
        lines.append(f"| `{model}`: {about(model)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *notes.lines(), ""])


def about(model: str) -> str:
    return ZOO[model].about.rstrip(".")


def cell(group: str, model: str, said: Mapping[str, str], notes: Notes) -> str:
    applicable = [
        o.name
        for o in OPERATIONS.values()
        if o.group == group and o.applies(ZOO[model])
    ]
    tried = [name for name in applicable if name in said]
    if not tried:
        return OPEN if applicable else ""
    refused = [name for name in tried if said[name] != WORKS]
    marks = [
        f"`{name.rpartition('.')[2]}` {notes.mark(said[name])}" for name in refused
    ]
    works = [] if len(refused) == len(tried) else ["works"]
    return "; ".join([*works, *marks])


class Notes:
    """Sentences, numbered in the order in which they are first needed."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, sentence: str) -> str:
        number = self.numbers.setdefault(sentence, len(self.numbers) + 1)
        return f"[{number}]"

    def lines(self) -> list[str]:
        return [f"{number}. {said}" for said, number in self.numbers.items()]
