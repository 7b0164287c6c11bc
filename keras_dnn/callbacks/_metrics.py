"""What a callback may know of the metrics that it goes by."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_dnn._keras.losses import direction_of


def warn_of_missing(
    callback: str, monitor: str, metrics: dict[str, Any], when: str
) -> None:
    """Warns that an evaluation does not report a metric, and names those there are.

    Args:
        callback: what waits for it.
        monitor: the name of the metric.
        metrics: what was reported.
        when: such as `"epoch 1"`.
    """
    known = sorted(name for name, value in metrics.items() if value is not None)
    warnings.warn(
        f"{callback} waits for the metric {monitor!r}, which {when} does not report. "
        f"There are {', '.join(map(repr, known)) or 'none'}.",
        stacklevel=2,
    )


def should_rise(model: keras.Model, name: str) -> bool:
    """Whether a metric of the model is better when higher, by itself or its name."""
    for metric in model.metrics:
        for inner in [*getattr(metric, "metrics", []), metric]:
            # With several outputs the name of one comes before the metric's.
            meant = name == inner.name or name.endswith(f"_{inner.name}")
            if meant and direction_of(inner) in ("up", "down"):
                return direction_of(inner) == "up"
    return any(word in name for word in ("acc", "auc", "precision", "recall"))
