"""Which layers were folded and which stay, by path, as the result shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._keras.graph import graph_of
from keras_dnn._keras.layers import sublayers
from keras_dnn.models._folding.affine import is_affine
from keras_dnn.models._folding.plan import Plan
from keras_dnn.models._rebuilding import Call, timed_model

OF_THE_INPUT = (
    "it normalises by the mean and the deviation of each input, not by fixed numbers"
)


@dataclasses.dataclass(frozen=True)
class Report:
    """The layers of one kind.

    Attributes:
        folded: by path, the layers that do the work now.
        kept: by path, the reason.
    """

    folded: dict[str, str] = dataclasses.field(default_factory=dict)
    kept: dict[str, str] = dataclasses.field(default_factory=dict)


def reports(plan: Plan, calls: dict[Call, list[Any]]) -> tuple[Report, Report]:
    """The report on batch norms, and that on other affine layers.

    Args:
        plan: after folding.
        calls: the new layers, by the key of the call they take the place of.
    """
    norms, others = Report(), Report()
    for key, sites in plan.affine.items():
        layer, path = sites[0].layer, sites[0].path + sites[0].layer.name
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        report = norms if is_norm else others
        if key in plan.absorbed_by:
            names = [x.path + calls[x.key][0].name for x in plan.absorbed_by[key]]
            report.folded[path] = ", ".join(dict.fromkeys(names))
        else:
            report.kept[path] = plan.reasons[key]
    norms.kept.update(_hidden_norms(plan))
    for site in plan.graph.sites:
        if isinstance(site.layer, keras.layers.GroupNormalization):
            others.kept[site.path + site.layer.name] = OF_THE_INPUT
    return norms, others


def _hidden_norms(plan: Plan) -> Iterator[tuple[str, str]]:
    """The batch norms in layers whose graph is not known, with the reason."""
    for site in plan.graph.sites:
        layer = site.layer
        if is_affine(layer) or graph_of(layer) or timed_model(layer):
            continue
        for part in sublayers(layer):
            if not isinstance(part, keras.layers.BatchNormalization):
                continue
            name, kind = site.path + layer.name, type(layer).__name__
            if part is layer:
                yield name, f"{kind} may compute something else than its base class"
            else:
                yield f"{name}/{part.name}", f"it is inside a {kind}"
