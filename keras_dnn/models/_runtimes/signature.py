"""The inputs and outputs of a model, described without the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_dnn._keras.graph import flat_inputs, graph_of

Structure: TypeAlias = "int | list[Structure] | dict[str, Structure]"
"""Nested lists and dicts of the positions of leaves."""


@dataclasses.dataclass(frozen=True)
class InputSignature:
    """The name of an input, the shape of one row of it, and the dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def array(self, x: Any) -> np.ndarray:
        """`x` with this shape and dtype.

        Raises:
            ValueError: if its rows have another shape.
        """
        a = np.asarray(x, self.dtype)
        if a.ndim == len(self.shape) and self.shape[-1:] == (1,):
            a = a[..., np.newaxis]
        if a.ndim == 0 or a.shape[1:] != self.shape:
            raise ValueError(
                f"x must have rows of shape {self.shape} for the input {self.name!r}, "
                f"as the data that was measured with. Received: shape {a.shape}"
            )
        return a


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs of a model, and how these and its outputs are nested.

    Attributes:
        inputs: in the order in which a flat function takes them.
        input_structure: lists and dicts of the positions in `inputs`.
        output_structure: the same for the outputs.
    """

    inputs: tuple[InputSignature, ...]
    input_structure: Structure
    output_structure: Structure

    def flat(self, x: Any) -> list[np.ndarray]:
        """The arrays of `x` in the order of the inputs, with their dtypes.

        Raises:
            ValueError: if `x` has another structure or other shapes.
        """
        found = dict(self._leaves(self._by_name(x), self.input_structure))
        arrays = [each.array(found[i]) for i, each in enumerate(self.inputs)]
        lengths = [len(a) for a in arrays]
        if len(set(lengths)) > 1:
            raise ValueError(
                "x must hold arrays of the same length. Received: arrays of lengths "
                f"{lengths}"
            )
        return arrays

    def _by_name(self, x: Any) -> Any:
        """A dict by the names of the inputs, in the structure that the model takes."""
        names = [each.name for each in self.inputs]
        if isinstance(x, Mapping) and not isinstance(self.input_structure, dict):
            if set(names) <= set(x):
                return packed(self.input_structure, [x[name] for name in names])
            raise ValueError(f"x must have the keys {names}. Received: {list(x)}")
        return x

    def _leaves(self, x: Any, structure: Structure) -> Iterator[tuple[int, Any]]:
        # Extra keys of a dict are ignored, as in Keras.
        if isinstance(structure, dict):
            if not isinstance(x, Mapping) or not set(structure) <= set(x):
                received = list(x) if isinstance(x, Mapping) else type(x)
                raise ValueError(
                    f"x must have the keys {list(structure)}. Received: {received}"
                )
            for key, part in structure.items():
                yield from self._leaves(x[key], part)
        elif isinstance(structure, list):
            if not isinstance(x, list | tuple) or len(x) != len(structure):
                raise ValueError(
                    f"x must be a list of {len(structure)}. Received: {type(x)}"
                )
            for entry, part in zip(x, structure, strict=True):
                yield from self._leaves(entry, part)
        else:
            yield structure, x

    def to_dict(self) -> dict[str, Any]:
        """Everything, in lists and dicts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Signature:
        """Reads what `to_dict` wrote."""
        inputs = [{**each, "shape": tuple(each["shape"])} for each in found["inputs"]]
        return cls(**{**found, "inputs": tuple(InputSignature(**x) for x in inputs)})


def input_signature(
    model: keras.Model, data: Any
) -> tuple[Signature, list[np.ndarray]]:
    """What the model takes, and the arrays of `data` as it takes them."""
    graph = graph_of(model)
    if graph is None:
        structure, leaves = data, [_of_floatx(x) for x in keras.tree.flatten(data)]
        names = [f"input_{i}" for i in range(len(leaves))]
    else:
        structure, leaves = graph.input_structure, flat_inputs(model, data)
        names = [tensor.name for tensor in graph.inputs]
    arrays = [keras.ops.convert_to_numpy(leaf) for leaf in leaves]
    inputs = tuple(
        InputSignature(name, a.shape[1:], str(a.dtype))
        for name, a in zip(names, arrays, strict=True)
    )
    return Signature(inputs, positions(structure), []), arrays


def _of_floatx(x: Any) -> np.ndarray:
    a = np.asarray(x)
    return a.astype(keras.config.floatx()) if a.dtype.kind == "f" else a


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
