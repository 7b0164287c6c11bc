"""Runs every public name on a model of the zoo, and says how it ended.

An operation works if its assertions hold, or refuses with a `ValueError` that the table
in `refusals.py` expects. Everything else is a fault: another exception, a warning that
is not in the table, a model that is not as it was, an entry that nothing needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras

from tests.zoo.model_case import ZooModel
from tests.zoo.refusals import REFUSALS, WARNINGS, Expected
from tests.zoo.subject import Subject

MOST_LINES = 3
"""Of the sentence with which an operation refuses."""

PACKAGE = f"{Path('/keras_dnn/')}/"
WORKS = "works"


@dataclasses.dataclass(frozen=True)
class Operation:
    """A use of public names on one model, with what must hold afterwards."""

    name: str
    names: tuple[str, ...]
    group: str
    run: Callable[[Subject], None]
    needs: tuple[str, ...]

    def applies(self, zoo: ZooModel) -> bool:
        return all(getattr(zoo, need) for need in self.needs)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an operation ended: that it works, or the sentence with which it refuses."""

    said: str
    fault: str = ""


GROUPS = {
    "training": "probes",
    "steering": "steering",
    "checking": "checks",
    "surgery": "surgery",
    "pretraining": "pretraining",
    "sampling": "samples",
    "runtimes": "runtimes",
}
"""Each has a module of tests, and a column in the table."""

OPERATIONS: dict[str, Operation] = {}


def operation(
    group: str, *names: str, needs: Sequence[str] = (), called: str = ""
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Enters a function that uses public names on a model.

    Args:
        group: the module of tests that runs it.
        *names: the public names, such as `"models.prune"`.
        needs: what the model must be able to do: `"trains"`, `"predicts"`.
        called: the operation in tables; by default the first of the names.
    """

    def enter(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = called or names[0]
        assert group in GROUPS
        assert name not in OPERATIONS, f"two operations are called {name}"
        OPERATIONS[name] = Operation(name, names, group, run, tuple(needs))
        return run

    return enter


def outcomes(group: str, zoo: ZooModel) -> dict[str, Outcome]:
    """The outcome of each operation of a group on a model."""
    subject = Subject(zoo)
    chosen = [o for o in OPERATIONS.values() if o.group == group and o.applies(zoo)]
    with unfiltered_tracebacks():
        return {operation.name: outcome(operation, subject) for operation in chosen}


def outcome(operation: Operation, subject: Subject) -> Outcome:
    refusals = expected_in(REFUSALS, operation.name, subject)
    warned = expected_in(WARNINGS, operation.name, subject)
    try:
        with expecting(warned), subject.unchanged():
            operation.run(subject)
    except Exception as error:
        if is_refusal(error) and matches(refusals, str(error)):
            return Outcome(normalised(str(error)))
        return Outcome("", described(error))
    if refusals:
        return Outcome(WORKS, f"it works, but refusals.py expects {refusals}")
    return Outcome(WORKS)


def is_refusal(error: Exception) -> bool:
    """Whether the package itself raised the error, in a short sentence."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    short = str(error).count("\n") < MOST_LINES
    return type(error) is ValueError and PACKAGE in last and short


def matches(patterns: Sequence[str], sentence: str) -> bool:
    return any(re.search(pattern, sentence, re.S) for pattern in patterns)


def expected_in(table: Sequence[Expected], name: str, subject: Subject) -> list[str]:
    return [entry.sentence for entry in table if entry.applies(name, subject)]


def quiet(name: str, subject: Subject) -> bool:
    """Whether the operation should work on the model without a warning."""
    tables = (REFUSALS, WARNINGS)
    return not any(expected_in(table, name, subject) for table in tables)


@contextlib.contextmanager
def expecting(patterns: Sequence[str]) -> Iterator[None]:
    """Lets warnings of these patterns pass, each of which must come."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        # NumPy 2 about TensorFlow's variables.
        warnings.filterwarnings("ignore", "__array__ implementation")
        for pattern in patterns:
            # `message` must match from the start, over several lines.
            warnings.filterwarnings("always", f"(?s).*{pattern}")
        yield
    said = [str(warning.message) for warning in caught]
    silent = [p for p in patterns if not any(re.search(p, s, re.S) for s in said)]
    assert not silent, f"no warning says {silent}"


@contextlib.contextmanager
def unfiltered_tracebacks() -> Iterator[None]:
    """Keeps the frames of Keras, which tell its errors from ours."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def normalised(sentence: str) -> str:
    """The sentence without what was received and without the numbers in names."""
    said = re.split(r"\s*Received\b", sentence)[0]
    return " ".join(re.sub(r"(?<=[a-z])_\d+\b", "", said).split())


def described(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if PACKAGE in f.filename or "/zoo/" in f.filename]
    places = [*ours[-2:], frames[-1]]
    where = " > ".join(f"{Path(f.filename).name}:{f.lineno}" for f in places)
    return f"{type(error).__name__} at {where}: {str(error)[:700]}"
