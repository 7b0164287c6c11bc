"""A training history survives JSON, and its parts are joined."""

import json

import numpy as np

from keras_dnn.callbacks._doctor.saved_history import joined, restored, stored
from keras_dnn.diagnostics import NonfiniteStep, TrainingHistory
from tests.diagnostics.histories import KERNELS, NO_ROWS, history


def part(rows, **changes):
    arrays = {
        name: value[rows(len(value))]
        for name, value in vars(history()).items()
        if isinstance(value, np.ndarray)
    }
    return history(**{**arrays, **changes})


def test_parts_are_joined():
    whole = history()
    early = part(lambda n: slice(n // 2))
    late = part(
        lambda n: slice(n // 2, None),
        verdict="unknown",
        nonfinite=NonfiniteStep(30, np.nan, None, "data"),
    )
    both = joined(early, late)
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(both, name), value)
    assert both.verdict == "fine"
    assert both.nonfinite.step == 30
    begun = history(nonfinite=NonfiniteStep(2, 1.0, None, "data"))
    assert joined(begun, late).nonfinite.step == 2


def test_before_the_first_step_nothing_is_known_of_the_layers():
    empty = history(norms=NO_ROWS, kernels=[], dead=NO_ROWS, layers=[])
    assert joined(history(), empty).kernels == KERNELS


def test_records_of_other_layers_are_dropped():
    more = history(norms=np.ones((2, 4)), kernels=[*KERNELS, "model/d/kernel"])
    assert joined(history(), more).norms.shape == (2, 4)


def test_a_history_survives_json():
    whole = history(nonfinite=NonfiniteStep(3, np.nan, "model/a", "outputs"))
    again = restored(json.loads(json.dumps(stored(whole))))
    assert again.nonfinite.to_dict() | {"loss": 0} == {
        "step": 3,
        "loss": 0,
        "layer": "model/a",
        "origin": "outputs",
        "metric": None,
    }
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(getattr(again, name), value, rtol=1e-7)
        elif name != "nonfinite":
            assert getattr(again, name) == value
    empty = restored(json.loads(json.dumps(stored(TrainingHistory()))))
    assert empty.norms.shape == (0, 0)
