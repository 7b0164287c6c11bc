"""Calibration, against a slow second implementation and closed forms."""

import json
import math

import numpy as np
import pytest

from keras_dnn.models import MCPrediction, calibration


def in_a_loop(labels, p, bins):
    """One input after the other, as the definitions read."""
    n, in_bin = len(p), [[] for _ in range(bins)]
    brier = likelihood = 0.0
    for label, row in zip(labels, p, strict=True):
        confidence = max(row)
        hit = float(list(row).index(confidence) == label)
        in_bin[max(math.ceil(confidence * bins) - 1, 0)].append((confidence, hit))
        brier += sum((q - (c == label)) ** 2 for c, q in enumerate(row))
        likelihood -= math.log(row[label])
    gaps = [
        (len(b), abs(sum(h for _, h in b) - sum(c for c, _ in b)) / len(b))
        for b in in_bin
        if b
    ]
    return {
        "expected_calibration_error": sum(k * gap for k, gap in gaps) / n,
        "maximum_calibration_error": max(gap for _, gap in gaps),
        "brier_score": brier / n,
        "negative_log_likelihood": likelihood / n,
        "accuracy": sum(h for b in in_bin for _, h in b) / n,
        "mean_confidence": sum(c for b in in_bin for c, _ in b) / n,
        "counts": [len(b) for b in in_bin],
    }


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_definitions(seed):
    generator = np.random.default_rng(seed)
    n, classes = generator.integers(1, 200), generator.integers(2, 12)
    bins = int(generator.integers(1, 30))
    p = generator.dirichlet(np.full(classes, generator.uniform(0.2, 3)), n)
    p = np.maximum(p, 1e-12)
    labels = generator.integers(0, classes, n)
    found, expected = calibration(labels, p, bins=bins), in_a_loop(labels, p, bins)
    assert found.bin_counts.tolist() == expected.pop("counts")
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12, abs=1e-14)


def test_closed_form():
    # A confidence of 0.8 in everything, right in 6 of 10.
    p = np.tile([0.8, 0.15, 0.05], (10, 1))
    found = calibration([0] * 6 + [1] * 3 + [2], p, bins=10)
    assert found.expected_calibration_error == pytest.approx(0.2, rel=1e-12)
    assert found.maximum_calibration_error == pytest.approx(0.2, rel=1e-12)
    brier = (
        0.6 * 0.065 + 0.3 * (0.64 + 0.7225 + 0.0025) + 0.1 * (0.64 + 0.0225 + 0.9025)
    )
    assert found.brier_score == pytest.approx(brier, rel=1e-12)
    likelihood = -(0.6 * math.log(0.8) + 0.3 * math.log(0.15) + 0.1 * math.log(0.05))
    assert found.negative_log_likelihood == pytest.approx(likelihood, rel=1e-12)
    # The upper edge belongs to a bin, and the other bins are empty.
    assert found.bin_counts.tolist() == [0] * 7 + [10, 0, 0]
    assert found.bin_accuracies[7] == pytest.approx(0.6)
    assert np.isnan(np.delete(found.bin_confidences, 7)).all()


def test_perfect_and_wrong_answers():
    sure = np.eye(3)[[0, 1, 2]]
    right, wrong = calibration([0, 1, 2], sure), calibration([1, 2, 0], sure)
    assert right.expected_calibration_error == right.brier_score == 0.0
    assert right.negative_log_likelihood == 0.0
    assert wrong.expected_calibration_error == wrong.maximum_calibration_error == 1.0
    assert wrong.brier_score == 2.0
    assert wrong.negative_log_likelihood == pytest.approx(52 * math.log(2))


def test_forms_of_the_same_answer_agree():
    generator = np.random.default_rng(1)
    q, y = generator.uniform(size=50), generator.integers(0, 2, 50)
    two = np.stack([1 - q, q], axis=1)
    expected = json.dumps(calibration(y, two).to_dict())
    none = dict.fromkeys(
        ("std", "entropy", "expected_entropy", "mutual_information", "variation_ratio")
    )
    for labels in (y, y[:, None], y.astype(bool), np.eye(2)[y], y.tolist()):
        for p in (q, q[:, None], two, MCPrediction(mean=two, **none)):
            assert json.dumps(calibration(labels, p).to_dict()) == expected


@pytest.mark.parametrize(
    ("y", "p", "options", "named"),
    [
        ([0], [[0.5, 0.4]], {}, "add up to 1"),
        ([0], [1.5], {}, r"\[0, 1\]"),
        ([0, 1], [0.5, float("nan")], {}, r"\[0, 1\].*NaN .* 1 rows, first in row 1"),
        ([0], [-0.1], {}, r"\[0, 1\]"),
        ([0], ["sure"], {}, "prediction must hold probabilities.*'sure'"),
        ([0, 1], [[0.5, 0.5], [1.0]], {}, "prediction must hold probabilities"),
        ([], [], {}, "at least one"),
        ([0], [[[0.5, 0.5]]], {}, "shape"),
        ([0, 1], [0.5], {}, "y must have shape"),
        ([2], [0.5], {}, "from 0 to 1"),
        ([0.5], [0.5], {}, "from 0 to 1"),
        ([[1, 1]], [[0.5, 0.5]], {}, "one-hot"),
        ([0], [0.5], {"bins": 0}, "bins"),
    ],
)
def test_says_what_is_wrong(y, p, options, named):
    with pytest.raises(ValueError, match=named):
        calibration(y, p, **options)


def test_several_outputs_are_refused():
    several = MCPrediction(*[[np.ones((1, 1))] * 2] * 6)
    with pytest.raises(ValueError, match="one output"):
        calibration([0], several)


def test_text_and_figure():
    found = calibration([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.6])
    assert "accuracy 0.7500, confidence 0.8000 (0.0500 more) on 4 inputs" in str(found)
    diagram, fractions = found.plot().axes
    np.testing.assert_allclose(
        diagram.lines[1].get_xydata(),
        np.stack([found.bin_confidences, found.bin_accuracies], 1)[
            found.bin_counts > 0
        ],
    )
    assert sum(bar.get_height() for bar in fractions.patches) == pytest.approx(1.0)
