"""A model that all runtimes are measured on, once for all tests."""

import numpy as np
import pytest

from keras_dnn.models import optimize_for_inference
from keras_dnn.models._measuring import benchmark
from tests.models.inference_cases import classifier, normal


@pytest.fixture
def short_turns(monkeypatch):
    """One warm-up call and one timed call: the durations are not tested."""
    without_pauses(monkeypatch)


def without_pauses(monkeypatch):
    for name in ("PAUSE", "WARM", "TIMED"):
        monkeypatch.setattr(benchmark, name, 0.0)


@pytest.fixture(scope="session")
def measured():
    """A model, its data with labels, and the result of measuring all runtimes."""
    model, x = classifier(), normal(70, 8, 8, 1)
    labels = np.random.default_rng(2).integers(0, 3, 70)
    with pytest.MonkeyPatch.context() as patch:
        without_pauses(patch)
        result = optimize_for_inference(
            model, x, tolerance=1e-5, labels=labels, rounds=2, verbose=0
        )
    return model, x, labels, result
