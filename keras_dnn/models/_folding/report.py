"""What a plan of folding says to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_dnn._keras.graph import graph_of
from keras_dnn._keras.layers import sublayers
from keras_dnn.models._folding.affine import is_affine
from keras_dnn.models._folding.plan import Plan
from keras_dnn.models._rebuilding import Call, timed_model

Book = tuple[dict[str, str], dict[str, str]]


def report(plan: Plan, calls: dict[Call, list[Any]]) -> tuple[Book, Book]:
    """What was folded and what was kept: of batch norms, and of other layers.

    Args:
        plan: after folding.
        calls: the new layers, as the plan gives them.
    """
    norms: Book = {}, {}
    others: Book = {}, {}
    for key, sites in plan.affine.items():
        layer, path = sites[0].node.operation, sites[0].path
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        folded, kept = norms if is_norm else others
        if key in plan.targets:
            names = [x.path + calls[x.key][0].name for x in plan.targets[key]]
            folded[path + layer.name] = ", ".join(dict.fromkeys(names))
        else:
            kept[path + layer.name] = plan.reasons[key]
    norms[1].update(_hidden_norms(plan))
    return norms, others


def _hidden_norms(plan: Plan) -> Iterator[tuple[str, str]]:
    """The batch norms in layers whose graph is not known, with the reason."""
    for site in plan.sites:
        layer = site.node.operation
        if is_affine(layer) or graph_of(layer) or timed_model(layer):
            continue
        for part in sublayers(layer):
            if not isinstance(part, keras.layers.BatchNormalization):
                continue
            name, kind = site.path + layer.name, type(layer).__name__
            if part is layer:
                yield name, f"{kind} is a batch norm of its own kind"
            else:
                yield f"{name}/{part.name}", f"it is inside a {kind}"
