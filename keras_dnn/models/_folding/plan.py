"""Which affine layer goes into which linear layers, and why the others stay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras

from keras_dnn.models._folding.across import across, back_across, commutes
from keras_dnn.models._folding.affine import Affine, Inexact, affine_of, is_affine
from keras_dnn.models._folding.calls import CallGraph, CallSite
from keras_dnn.models._folding.kinds import check_no_activation, is_linear, linear_of
from keras_dnn.models._folding.linear import Linear
from keras_dnn.models._rebuilding import Call

Direction: TypeAlias = Callable[[CallSite, Affine], list[CallSite]]


class Plan:
    """The folds of a model, each made as soon as it is found to be exact.

    Attributes:
        graph: the calls of the model.
        affine: by id of each affine layer, its calls.
        absorbed_by: by id of each layer that is folded, the calls of linear layers that
            do its work.
        reasons: by id of each layer that stays, why.
        linear: what the calls of linear layers are to compute, by key.
        dropped: the keys of the calls that the folded model does without.
    """

    def __init__(self, model: keras.Model) -> None:
        self.graph = CallGraph(model)
        self.affine: dict[int, list[CallSite]] = defaultdict(list)
        for site in self.graph.sites:
            if is_affine(site.layer):
                self.affine[id(site.layer)].append(site)
        self.absorbed_by: dict[int, list[CallSite]] = {}
        self.reasons: dict[int, str] = {}
        self.linear: dict[Call, Linear] = {}
        self.dropped: set[Call] = set()
        self._fold_all()

    def _fold_all(self) -> None:
        """Folds until nothing more can be: one fold may clear the way for another."""
        before = -1
        while len(self.absorbed_by) > before:
            before = len(self.absorbed_by)
            for sites in self.affine.values():
                self._fold(sites, (self._backward,))
            for sites in reversed(self.affine.values()):
                self._fold(sites[::-1], (self._backward, self._forward))

    def _fold(self, sites: list[CallSite], directions: Sequence[Direction]) -> None:
        """Folds a layer if all its calls can be folded."""
        layer = sites[0].layer
        if id(layer) in self.absorbed_by:
            return
        before = self.linear.copy(), self.dropped.copy()
        try:
            absorbers = [x for site in sites for x in self._fold_call(site, directions)]
        except Inexact as reason:
            self.linear, self.dropped = before
            self.reasons[id(layer)] = str(reason)
        else:
            self.absorbed_by[id(layer)] = absorbers
            self.reasons.pop(id(layer), None)

    def _fold_call(
        self, site: CallSite, directions: Sequence[Direction]
    ) -> list[CallSite]:
        """Folds a call in the first direction in which that is exact."""
        node = site.node
        if node.training:
            raise Inexact("it is called with training=True")
        if node.data.dtype != node.outputs[0].dtype:
            raise Inexact(f"it turns {node.data.dtype} into {node.outputs[0].dtype}")
        affine = affine_of(site.layer, node.data)
        reasons = []
        for direction in directions:
            before = self.linear.copy()
            try:
                absorbers = direction(site, affine)
            except Inexact as reason:
                self.linear = before
                reasons.append(str(reason))
            else:
                self.dropped.add(site.key)
                return absorbers
        raise Inexact("; ".join(reasons))

    def _backward(self, site: CallSite, affine: Affine) -> list[CallSite]:
        """Puts an affine map into the linear layer that feeds it."""
        producer = self.graph.producer(site)
        if producer is None:
            raise Inexact("nothing before it in this model could take it")
        layer = producer.layer
        if not self.graph.feeds_nothing_else(site.node.data, site):
            raise Inexact(f"the output of {layer.name} is used elsewhere too")
        if producer.key in self.dropped:
            return self._backward(producer, affine)
        if is_linear(layer):
            check_no_activation(layer)
            self.linear[producer.key] = self._linear(producer).after(affine)
            return [producer]
        if commutes(producer.node):
            return self._backward(producer, back_across(producer.node, affine))
        kind = type(layer).__name__
        raise Inexact(f"the {kind} before it is not a linear layer")

    def _forward(self, site: CallSite, affine: Affine) -> list[CallSite]:
        """Puts an affine map into all the linear layers that it feeds."""
        if self.graph.gives_an_output(site):
            raise Inexact(f"{site.layer.name} gives an output of the model")
        consumers = self.graph.consumers(site)
        return [x for c in consumers for x in self._into_consumer(c, affine)]

    def _into_consumer(self, consumer: CallSite, affine: Affine) -> list[CallSite]:
        """Puts an affine map into a call behind it, or into what that feeds."""
        if consumer.key in self.dropped:
            return self._forward(consumer, affine)
        if is_linear(consumer.layer):
            self.linear[consumer.key] = self._linear(consumer).before(affine)
            return [consumer]
        if commutes(consumer.node):
            return self._forward(consumer, across(consumer.node, affine))
        kind = type(consumer.layer).__name__
        raise Inexact(f"the {kind} behind it is not a linear layer")

    def _linear(self, site: CallSite) -> Linear:
        """What a call of a linear layer is to compute so far."""
        return self.linear.get(site.key) or linear_of(site.node)
