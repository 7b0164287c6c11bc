"""A form that a trained model can take, apart from the Keras model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_dnn.models._runtimes.source import Network

Files = dict[str, bytes]
"""All that a form consists of: the contents of files by name."""

Run = Callable[[Sequence[np.ndarray]], Sequence[Any]]
"""Takes the arrays of all inputs and gives those of all outputs."""


@dataclasses.dataclass(frozen=True)
class Form:
    """How a form is made, saved and run.

    Attributes:
        name: by which it is chosen.
        bits: of a weight; `None` where the model decides.
        make: turns a network into files. What it raises is the reason why this network
            or this machine does not have the form.
        open: turns the files into a function, with so many threads.
        any_batch: whether it runs with other numbers of rows than the measured one.
    """

    name: str
    bits: int | None
    make: Callable[[Network], Files]
    open: Callable[[Files, int], Run]
    any_batch: bool


def numbered(names: Iterable[str]) -> list[str]:
    """The names `x0`, `x1`, ... or `y0`, `y1`, ... in the order of their numbers."""
    return sorted(names, key=lambda name: int(name[1:]))
