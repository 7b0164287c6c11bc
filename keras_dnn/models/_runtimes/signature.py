"""The inputs and outputs of a model, described without the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_dnn._keras.graph import graph_of
from keras_dnn.models._runtimes.exact import as_dtype, as_numpy

Structure: TypeAlias = "int | list[Structure] | dict[str, Structure]"
"""Nested lists and dicts of the positions of leaves."""


@dataclasses.dataclass(frozen=True)
class InputSignature:
    """An input of a model.

    Attributes:
        name: of the input.
        shape: of one row, as it was measured.
        dtype: of the numbers, or `"string"`.
        open_shape: of one row, with `None` where the model leaves a length open; by
            default `shape`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    open_shape: tuple[int | None, ...] | None = None

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> InputSignature:
        """Reads the fields, with lists for tuples."""
        shapes = {k: tuple(v) for k, v in found.items() if isinstance(v, list)}
        return cls(**{**found, **shapes})

    @property
    def any_shape(self) -> tuple[int | None, ...]:
        """The shape of one row, with `None` where the model leaves a length open."""
        return self.shape if self.open_shape is None else self.open_shape

    def array(self, x: Any, argument: str = "x") -> np.ndarray:
        """`x` with this dtype, and with or without a last axis of one as needed.

        Raises:
            ValueError: if its rows have another shape, or the dtype cannot hold them.
        """
        a = as_numpy(x, argument, self.name)
        shape = self.any_shape
        if a.ndim == len(shape) and shape[-1:] == (1,):
            a = a[..., np.newaxis]
        elif a.ndim == len(shape) + 2 and a.shape[-1] == 1:
            a = a[..., 0]
        if not _fits(a.shape[1:], shape) or a.ndim == 0:
            raise ValueError(
                f"{argument} must have rows of shape {shape} for the input "
                f"{self.name!r}. Received: shape {a.shape}"
            )
        return as_dtype(a, self.dtype, argument, self.name)


def _fits(found: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return len(found) == len(shape) and all(
        wanted in (None, size) for size, wanted in zip(found, shape, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs of a model, and how these and its outputs are nested.

    Attributes:
        inputs: in the order in which a flat function takes them.
        input_structure: lists and dicts of the positions in `inputs`.
        output_structure: the same for the outputs.
        rows: the only number of rows that the model takes; `None` for any number.
    """

    inputs: tuple[InputSignature, ...]
    input_structure: Structure
    output_structure: Structure
    rows: int | None = None

    def flat(self, x: Any, argument: str = "x") -> list[np.ndarray]:
        """The arrays of `x` in the order of the inputs, with their dtypes.

        As in Keras, `x` may be nested as the inputs are, or a dict by their names; one
        input may stand alone.

        Raises:
            ValueError: if `x` has another structure, other shapes, or numbers that the
                dtype of an input cannot hold.
        """
        found = dict(self._leaves(self._arranged(x), self.input_structure, argument))
        arrays = [each.array(found[i], argument) for i, each in enumerate(self.inputs)]
        lengths = [len(a) for a in arrays]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"{argument} must hold arrays of the same length. Received: arrays of "
                f"lengths {lengths}"
            )
        return arrays

    def _arranged(self, x: Any) -> Any:
        """`x` in the structure that the model takes, where Keras would see it there."""
        names = [each.name for each in self.inputs]
        structure = self.input_structure
        if isinstance(x, Mapping):
            by_name = not isinstance(structure, dict) and set(names) <= set(x)
            return packed(structure, [x[n] for n in names]) if by_name else x
        is_sequence = isinstance(x, list | tuple)
        if len(names) == 1:
            # A list may also be the rows themselves.
            alone = is_sequence and len(x) == 1 and hasattr(x[0], "shape")
            return packed(structure, [x[0] if alone else x])
        if isinstance(structure, dict) and is_sequence and len(x) == len(structure):
            keys = list(structure)
            # Keras flattens a dict by its sorted keys, and refuses what that confuses.
            if keys == sorted(keys):
                return dict(zip(keys, x, strict=True))
        return x

    def _leaves(
        self, x: Any, structure: Structure, argument: str
    ) -> Iterator[tuple[int, Any]]:
        # Extra keys of a dict are ignored, as in Keras.
        if isinstance(structure, dict):
            if not isinstance(x, Mapping) or not set(structure) <= set(x):
                raise ValueError(
                    f"{argument} must have the keys {list(structure)}. "
                    f"Received: {list(x) if isinstance(x, Mapping) else _kind(x)}"
                )
            for key, part in structure.items():
                yield from self._leaves(x[key], part, argument)
        elif isinstance(structure, list):
            if isinstance(x, Mapping):
                names = [each.name for each in self.inputs]
                raise ValueError(
                    f"{argument} must have the keys {names}. Received: {list(x)}"
                )
            if not isinstance(x, list | tuple) or len(x) != len(structure):
                raise ValueError(
                    f"{argument} must be a list of {len(structure)}. "
                    f"Received: {_kind(x)}"
                )
            for entry, part in zip(x, structure, strict=True):
                yield from self._leaves(entry, part, argument)
        else:
            if isinstance(x, Mapping):
                raise ValueError(
                    f"{argument} must have the keys "
                    f"{[each.name for each in self.inputs]}. Received: {list(x)}"
                )
            yield structure, x

    def to_dict(self) -> dict[str, Any]:
        """Everything, in lists and dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Signature:
        """Reads what `to_dict` wrote."""
        inputs = tuple(InputSignature.from_dict(each) for each in found["inputs"])
        return cls(**{**found, "inputs": inputs})


def input_signature(
    model: keras.Model, data: Any
) -> tuple[Signature, list[np.ndarray]]:
    """What the model takes, and the arrays of `data` as it takes them.

    Raises:
        ValueError: if the model does not take the data.
    """
    graph = graph_of(model)
    if graph is None:
        arrays = [_of_floatx(as_numpy(x, "data")) for x in keras.tree.flatten(data)]
        inputs = tuple(
            InputSignature(f"input_{i}", a.shape[1:], _dtype_of(a))
            for i, a in enumerate(arrays)
        )
        structure = positions(data)
    else:
        inputs = tuple(
            InputSignature(x.name, (), str(x.dtype), tuple(x.shape[1:]))
            for x in graph.inputs
        )
        structure = positions(graph.input_structure)
    signature = Signature(inputs, structure, [])
    arrays = signature.flat(data, "data")
    measured = tuple(
        dataclasses.replace(
            each,
            shape=a.shape[1:],
            open_shape=None if graph is None else each.open_shape,
        )
        for each, a in zip(inputs, arrays, strict=True)
    )
    return dataclasses.replace(signature, inputs=measured), arrays


def _of_floatx(a: np.ndarray) -> np.ndarray:
    return a.astype(keras.config.floatx()) if a.dtype.kind == "f" else a


def _dtype_of(a: np.ndarray) -> str:
    return "string" if a.dtype == object else str(a.dtype)


def _kind(x: Any) -> str:
    return f"{type(x).__name__} of {len(x)}" if hasattr(x, "__len__") else repr(type(x))


def positions(structure: Any) -> Structure:
    """The structure with the position of each leaf in its place, tuples as lists."""
    numbers = list(range(len(keras.tree.flatten(structure))))
    return _lists(keras.tree.pack_sequence_as(structure, numbers))


def _lists(structure: Any) -> Structure:
    if isinstance(structure, dict):
        return {key: _lists(value) for key, value in structure.items()}
    if isinstance(structure, list | tuple):
        return [_lists(value) for value in structure]
    number: int = structure
    return number


def packed(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The structure of positions with the leaf of each position in its place."""
    if isinstance(structure, dict):
        return {key: packed(value, leaves) for key, value in structure.items()}
    if isinstance(structure, list):
        return [packed(value, leaves) for value in structure]
    return leaves[structure]
