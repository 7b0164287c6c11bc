"""The table of the zoo as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from tests.zoo.all_models import ZOO
from tests.zoo.battery import GROUPS, OPERATIONS, WORKS

ALL_WORK = "✓"

Said = Mapping[str, str]
"""For each operation that it works, or the sentence with which it refuses."""


def rendered(table: Mapping[str, Said]) -> str:
    """A row for each model, a column for each group; refusals as footnotes below."""
    notes = Notes(table)
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


def cell(group: str, model: str, said: Said, notes: Notes) -> str:
    """A tick if anything of the group works, and the notes on what is refused."""
    applicable = [
        o.name
        for o in OPERATIONS.values()
        if o.group == group and o.applies(ZOO[model])
    ]
    if not applicable:
        return ""
    refused = [said[name] for name in applicable if said[name] != WORKS]
    marks = {notes.mark(sentence): None for sentence in refused}
    works = [] if len(refused) == len(applicable) else [ALL_WORK]
    return " ".join([*works, *marks])


class Notes:
    """Sentences, numbered in the order in which they are first needed."""

    def __init__(self, table: Mapping[str, Said]) -> None:
        self.numbers: dict[str, int] = {}
        self.operations: dict[str, dict[str, None]] = {}
        for said in table.values():
            for operation, sentence in said.items():
                name = operation.rpartition(".")[2]
                self.operations.setdefault(sentence, {})[name] = None

    def mark(self, sentence: str) -> str:
        number = self.numbers.setdefault(sentence, len(self.numbers) + 1)
        return f"[^{number}]"

    def lines(self) -> list[str]:
        return [
            f"[^{number}]: {self.names(sentence)}: {sentence}\n"
            for sentence, number in self.numbers.items()
        ]

    def names(self, sentence: str) -> str:
        """The operations that refuse with the sentence."""
        return ", ".join(f"`{name}`" for name in self.operations[sentence])
