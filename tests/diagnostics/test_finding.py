"""A finding reads well, whatever its evidence."""

import json

import numpy as np

from keras_dnn.diagnostics import Finding


def finding(**changes):
    values = {
        "name": "vanishing",
        "severity": "warning",
        "layer": "model/dense",
        "message": "The gradient almost disappears.",
        "evidence": {"forward": 1.25e-5, "layers": 3},
        "advice": "Use ReLU.",
        "see": "the guide",
    }
    return Finding(**{**values, **changes})


def test_it_reads_well():
    assert str(finding()).splitlines() == [
        "warning: vanishing in model/dense",
        "  The gradient almost disappears.",
        "  forward = 1.25e-05, layers = 3",
        "  Use ReLU.",
        "  See the guide",
    ]


def test_empty_parts_leave_no_line():
    bare = finding(layer=None, evidence={}, see="")
    assert str(bare).splitlines() == [
        "warning: vanishing",
        "  The gradient almost disappears.",
        "  Use ReLU.",
    ]


def test_long_arrays_are_shortened():
    text = str(finding(evidence={"weights": list("abcdefgh"), "of": np.arange(2)}))
    assert "weights = [a, b, c, d, e, f, ...], of = [0, 1]" in text


def test_it_is_ready_for_json():
    stored = json.loads(json.dumps(finding(evidence={"n": np.float32(0.5)}).to_dict()))
    assert stored["evidence"] == {"n": 0.5}
