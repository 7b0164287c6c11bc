"""Results: what the prompt and a notebook show of them."""

import dataclasses

import numpy as np

from keras_dnn._result import Result


@dataclasses.dataclass(frozen=True)
class Base(Result):
    values: np.ndarray

    def __str__(self):
        return f"{len(self.values)} values"


@dataclasses.dataclass(frozen=True)
class Derived(Base):
    more: int = 3


@dataclasses.dataclass(frozen=True)
class Plain(Result):
    value: int


def test_a_result_with_a_text_shows_that_text():
    for kind in (Base, Derived):
        result = kind(np.zeros(5000))
        assert repr(result) == str(result) == "5000 values"


def test_a_result_without_one_shows_its_fields():
    assert repr(Plain(3)) == str(Plain(3)) == "Plain(value=3)"
