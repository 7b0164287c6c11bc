"""Predictions with dropout on, equal to `predict` where dropout drops nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_dnn import models
from tests.zoo.battery import operation
from tests.zoo.subject import Subject, assert_close, layers_in

GROUP = "sampling"
RATES = ("rate", "dropout", "recurrent_dropout", "_dropout", "stddev", "drop_rate")
NEARLY_NEVER = 1e-6
TOLERANCE = 5e-3
"""Gaussian dropout at such a rate still multiplies by 1 ± 1e-3."""


def hardly_random(subject: Subject) -> keras.Model:
    """The model, with rates at which hardly anything is ever dropped."""
    model = subject.fresh()
    for layer in layers_in(model):
        for name in RATES:
            if isinstance(vars(layer).get(name), float) and getattr(layer, name) > 0:
                setattr(layer, name, NEARLY_NEVER)
    return model


@operation(GROUP, "models.mc_predict", "models.MCPrediction", needs=["predicts"])
def mc_predict(subject: Subject) -> None:
    model = hardly_random(subject)
    same = models.mc_predict(
        model,
        subject.inputs,
        samples=2,
        seed=1,
        return_samples=True,
        verbose=0,
        batch_size=subject.batch_size or 32,
    )
    samples = same.samples if isinstance(same.samples, list) else [same.samples]
    assert all(np.isfinite(s).all() for s in samples)
    if not subject.zoo.random_at_inference:
        for draw in range(2):
            assert_close([s[draw] for s in samples], subject.expected, TOLERANCE)


@operation(GROUP, "models.export_monte_carlo", needs=["predicts"])
def export_monte_carlo(subject: Subject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        measures = models.export_monte_carlo(
            hardly_random(subject), Path(folder) / "model", samples=2, seed=1
        )
        found = measures(subject.inputs)
    mean = np.asarray(found["mean"])
    assert np.isfinite(mean).all()
    if not subject.zoo.random_at_inference:
        assert_close([mean], subject.expected, TOLERANCE)
