"""What operations may refuse, and warn of, on models of the zoo.

An entry stands for a kind: every operation in it on every model in it. A test fails
where an operation refuses without an entry, and where an entry is not needed.
"""

from typing import NamedTuple


class Expected(NamedTuple):
    """A sentence that these operations say on these models."""

    sentence: str
    """A regular expression."""
    operations: str
    models: str


REFUSALS: tuple[Expected, ...] = ()

WARNINGS: tuple[Expected, ...] = ()
