"""The layers that carry out a plan."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from keras_dnn.models._folding.linear import Linear, NewLayers
from keras_dnn.models._folding.plan import Plan
from keras_dnn.models._rebuilding import Call


class Replacements:
    """New layers for the calls that a plan changes.

    A layer whose calls are to compute different things becomes several; those that
    nothing was folded into keep the old one.

    Attributes:
        calls: what takes the place of each changed call, as `rebuilt` takes it.
    """

    def __init__(self, plan: Plan) -> None:
        self.calls: dict[Call, list[Any]] = {key: [] for key in plan.dropped}
        sites = plan.graph.sites
        self._made: dict[int, list[tuple[Linear, NewLayers]]] = defaultdict(list)
        self._names = {site.layer.name for site in sites}
        self._unchanged = {
            id(site.layer) for site in sites if site.key not in plan.linear
        }
        for site in sites:
            if site.key in plan.linear:
                self.calls[site.key] = self._layers(plan.linear[site.key])

    def fill(self) -> None:
        """Gives the layers their weights, once they are built."""
        for made in self._made.values():
            for _, new in made:
                new.fill()

    def _layers(self, linear: Linear) -> list[Any]:
        """Layers that compute this, the same ones for calls that compute the same."""
        old = linear.node.operation
        made = self._made[id(old)]
        for known, new in made:
            if known.equals(linear):
                return new.layers
        keeps_its_name = id(old) not in self._unchanged and not made
        new = linear.new_layers(old.name if keeps_its_name else self._unused(old.name))
        self._names |= {layer.name for layer in new.layers}
        made.append((linear, new))
        return new.layers

    def _unused(self, name: str) -> str:
        number = 1
        while f"{name}_{number}" in self._names:
            number += 1
        return f"{name}_{number}"
