"""Checks before training, which leave the model as it was, bit for bit."""

from __future__ import annotations

import numpy as np

from keras_dnn import diagnostics, tuning
from tests.zoo.battery import operation
from tests.zoo.subject import Subject

GROUP = "checking"


@operation(GROUP, "diagnostics.preflight", "diagnostics.Report", needs=["trains"])
def preflight(subject: Subject) -> None:
    data = subject.data
    report = diagnostics.preflight(
        subject.model,
        data.x,
        data.y,
        sample_weight=data.sample_weight,
        samples=8,
        verbose=0,
    )
    assert isinstance(report, diagnostics.Report)
    assert str(report)


@operation(
    GROUP, "diagnostics.check_gradients", "diagnostics.GradientCheck", needs=["trains"]
)
def check_gradients(subject: Subject) -> None:
    x, y, weight = subject.batch
    result = diagnostics.check_gradients(
        subject.model, x, y, sample_weight=weight, coordinates=1, verbose=0
    )
    assert len(result.names) == len(subject.model.trainable_variables)
    assert result.passed, str(result)


@operation(GROUP, "tuning.find_learning_rate", "tuning.RangeTest", needs=["trains"])
def find_learning_rate(subject: Subject) -> None:
    data = subject.data
    result = tuning.find_learning_rate(
        subject.model,
        data.x,
        data.y,
        sample_weight=data.sample_weight,
        steps=3,
        max_rate=1e-3,
        batch_size=data.fit.get("batch_size", 16),
        seed=1,
        verbose=0,
    )
    assert len(result.losses) == 3
    assert np.isfinite(result.losses).all()
