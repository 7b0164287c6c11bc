"""The calls of layers in a model and in the models nested in it."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._keras.graph import Node, graph_of
from keras_dnn._typing import Tensor
from keras_dnn.models._rebuilding import Call, call_key, timed_model


@dataclasses.dataclass(frozen=True, eq=False)
class CallSite:
    """A call, the model whose graph it is in, and the path of that model."""

    node: Node
    model: keras.Model
    path: str

    @property
    def layer(self) -> Any:
        """The layer or operation that is called."""
        return self.node.operation

    @property
    def key(self) -> Call:
        """Identifies the call."""
        return call_key(self.model, self.node)

    def tensor_key(self, tensor: Tensor) -> Call:
        """Identifies a tensor of the same graph."""
        return id(self.model), id(tensor)


class CallGraph:
    """All calls of a model, and what leads from one to another.

    Args:
        model: a model with a graph.
    """

    def __init__(self, model: keras.Model) -> None:
        self.sites = list(_sites(model, "", set()))
        self._producers: dict[Call, CallSite] = {}
        self._consumers: dict[Call, list[CallSite]] = defaultdict(list)
        self._outputs: set[Call] = set()
        for site in self.sites:
            self._producers |= {site.tensor_key(x): site for x in site.node.outputs}
            for key in {site.tensor_key(x) for x in site.node.inputs}:
                self._consumers[key].append(site)
        for part in {id(site.model): site.model for site in self.sites}.values():
            graph = graph_of(part)
            assert graph is not None
            self._outputs |= {(id(part), id(x)) for x in graph.outputs}

    def producer(self, site: CallSite) -> CallSite | None:
        """The call whose output this one works on; `None` at an input of its model."""
        return self._producers.get(site.tensor_key(site.node.data))

    def consumers(self, site: CallSite) -> list[CallSite]:
        """The calls that take what this one returns first."""
        return self._consumers[site.tensor_key(site.node.outputs[0])]

    def feeds_nothing_else(self, tensor: Tensor, site: CallSite) -> bool:
        """Whether this call is all that a tensor of its graph is used for."""
        key = site.tensor_key(tensor)
        return len(self._consumers[key]) == 1 and key not in self._outputs

    def gives_an_output(self, site: CallSite) -> bool:
        """Whether a call returns an output of its model."""
        return site.tensor_key(site.node.outputs[0]) in self._outputs


def _sites(model: keras.Model, path: str, seen: set[int]) -> Iterator[CallSite]:
    """The calls in a model and in those nested in it, each of these once."""
    graph = graph_of(model)
    if graph is None or id(model) in seen:
        return
    seen.add(id(model))
    for node in graph.nodes:
        yield CallSite(node, model, path)
        operation = node.operation
        inner = timed_model(operation) or operation
        yield from _sites(inner, f"{path}{operation.name}/", seen)
