"""Which affine layer goes into which linear layers, and why the others stay."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_dnn._keras.graph import Node, graph_of
from keras_dnn._typing import Tensor
from keras_dnn.models._folding.across import across, back_across, commutes
from keras_dnn.models._folding.affine import Affine, Inexact, affine_of, is_affine
from keras_dnn.models._folding.kinds import check_no_activation, is_linear, linear_of
from keras_dnn.models._folding.linear import Linear
from keras_dnn.models._rebuilding import Call, call_key, timed_model


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A call, the model whose graph it is in, and the path of that model."""

    node: Node
    model: keras.Model
    path: str

    @property
    def key(self) -> Call:
        """What names it."""
        return call_key(self.model, self.node)

    def tensor(self, tensor: Tensor) -> Call:
        """What names a tensor of the same graph."""
        return id(self.model), id(tensor)


class Plan:
    """The folds of a model, each made as soon as it is found to be exact.

    Attributes:
        targets: by id of each layer that is folded, the calls that take it in.
        reasons: by id of each layer that stays, why.
        linear: what the calls of linear layers are to compute, by key.
        gone: the calls that fall away, by key.
    """

    def __init__(self, model: keras.Model) -> None:
        self.sites = list(sites_of(model))
        self.makers: dict[Call, Site] = {}
        self.takers: dict[Call, list[Site]] = defaultdict(list)
        self.outputs: set[Call] = set()
        for site in self.sites:
            self.makers.update((site.tensor(x), site) for x in site.node.outputs)
            for key in {site.tensor(x) for x in site.node.inputs}:
                self.takers[key].append(site)
        for part in {id(s.model): s.model for s in self.sites}.values():
            graph = graph_of(part)
            assert graph is not None
            self.outputs.update((id(part), id(x)) for x in graph.outputs)

        self.affine: dict[int, list[Site]] = defaultdict(list)
        for site in self.sites:
            if is_affine(site.node.operation):
                self.affine[id(site.node.operation)].append(site)
        self.targets: dict[int, list[Site]] = {}
        self.reasons: dict[int, str] = {}
        self.linear: dict[Call, Linear] = {}
        self.gone: set[Call] = set()
        self._fold_all()

    def _fold_all(self) -> None:
        """Folds until nothing more can be: what falls away may clear another's way."""
        before = -1
        while len(self.targets) > before:
            before = len(self.targets)
            for sites in self.affine.values():
                self._fold(sites, (self._backward,))
            for sites in reversed(self.affine.values()):
                self._fold(sites[::-1], (self._backward, self._forward))

    def _fold(self, sites: list[Site], ways: Sequence[Callable[..., Any]]) -> None:
        """Folds a layer if all its calls can be."""
        layer = sites[0].node.operation
        if id(layer) in self.targets:
            return
        state = self.linear.copy(), self.gone.copy()
        try:
            targets = [x for site in sites for x in self._fold_call(site, ways)]
        except Inexact as reason:
            self.linear, self.gone = state
            self.reasons[id(layer)] = str(reason)
        else:
            self.targets[id(layer)] = targets
            self.reasons.pop(id(layer), None)

    def _fold_call(self, site: Site, ways: Sequence[Callable[..., Any]]) -> list[Site]:
        node = site.node
        if node.training:
            raise Inexact("it is called with training=True")
        if node.data.dtype != node.outputs[0].dtype:
            raise Inexact(f"it turns {node.data.dtype} into {node.outputs[0].dtype}")
        affine = affine_of(node.operation, node.data)
        reasons = []
        for way in ways:
            state = self.linear.copy()
            try:
                targets: list[Site] = way(site, affine)
            except Inexact as reason:
                self.linear = state
                reasons.append(str(reason))
            else:
                self.gone.add(site.key)
                return targets
        raise Inexact("; ".join(reasons))

    def _backward(self, site: Site, affine: Affine) -> list[Site]:
        """Carries an affine up to the linear layer before it."""
        node = site.node
        while True:
            key = site.tensor(node.data)
            maker = self.makers.get(key)
            if maker is None:
                raise Inexact("nothing before it in this model could take it")
            node, layer = maker.node, maker.node.operation
            if len(self.takers[key]) > 1 or key in self.outputs:
                raise Inexact(f"the output of {layer.name} is used elsewhere too")
            if maker.key in self.gone:
                continue
            if is_linear(layer):
                check_no_activation(layer)
                self.linear[maker.key] = self._linear(maker).after(affine)
                return [maker]
            if not commutes(node):
                kind = type(layer).__name__
                raise Inexact(f"the {kind} before it is not a linear layer")
            affine = back_across(node, affine)

    def _forward(self, site: Site, affine: Affine) -> list[Site]:
        """Carries an affine down to all the linear layers behind it."""
        key = site.tensor(site.node.outputs[0])
        if key in self.outputs:
            raise Inexact(f"{site.node.operation.name} gives an output of the model")
        found = []
        for taker in self.takers[key]:
            layer = taker.node.operation
            if taker.key in self.gone:
                found += self._forward(taker, affine)
            elif is_linear(layer):
                self.linear[taker.key] = self._linear(taker).before(affine)
                found.append(taker)
            elif commutes(taker.node):
                found += self._forward(taker, across(taker.node, affine))
            else:
                raise Inexact(
                    f"the {type(layer).__name__} behind it is not a linear layer"
                )
        return found

    def _linear(self, site: Site) -> Linear:
        return self.linear.get(site.key) or linear_of(site.node)

    def new_layers(self) -> tuple[dict[Call, list[Any]], Callable[[], None]]:
        """What stands in the place of the calls, and what gives it its weights.

        A layer whose calls are to compute different things becomes several; those that
        nothing was folded into keep the old one.
        """
        calls: dict[Call, list[Any]] = {key: [] for key in self.gone}
        fills: list[Callable[[], None]] = []
        names = {site.node.operation.name for site in self.sites}
        made: dict[int, list[tuple[Linear, list[Any]]]] = defaultdict(list)
        untouched = {
            id(site.node.operation)
            for site in self.sites
            if site.key not in self.linear
        }
        for site in self.sites:
            linear = self.linear.get(site.key)
            if linear is None:
                continue
            layer = site.node.operation
            same = [new for old, new in made[id(layer)] if old.equals(linear)]
            if not same:
                name = layer.name
                if id(layer) in untouched or made[id(layer)]:
                    name = _unused(layer.name, names)
                new, fill = linear.new_layers(name)
                names |= {x.name for x in new}
                fills.append(fill)
                made[id(layer)].append((linear, new))
                same = [new]
            calls[site.key] = same[0]

        def fill_all() -> None:
            for fill in fills:
                fill()

        return calls, fill_all


def sites_of(model: keras.Model) -> Iterator[Site]:
    """All calls in a model and in the models nested in it, each of these once."""
    if graph_of(model) is None:
        raise ValueError(
            "fold_batch_norm needs a functional model or a built Sequential, since the "
            f"graph of a subclassed model is not known. Received: model={model}"
        )
    yield from _sites(model, "", set())


def _sites(model: keras.Model, path: str, seen: set[int]) -> Iterator[Site]:
    graph = graph_of(model)
    if graph is None or id(model) in seen:
        return
    seen.add(id(model))
    for node in graph.nodes:
        yield Site(node, model, path)
        operation = node.operation
        inner = timed_model(operation) or operation
        yield from _sites(inner, f"{path}{operation.name}/", seen)


def _unused(name: str, names: set[str]) -> str:
    number = 1
    while f"{name}_{number}" in names:
        number += 1
    return f"{name}_{number}"
