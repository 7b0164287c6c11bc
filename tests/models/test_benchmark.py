"""Accuracy and timing, against counting by hand; rows in batches of one size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_dnn.models._measuring import benchmark
from keras_dnn.models._measuring.accuracy import accuracy, classes
from keras_dnn.models._measuring.predictor import in_batches


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        ([[0.1, 0.9], [0.6, 0.4], [0.2, 0.8]], [1, 1, 1], 2 / 3),
        ([[0.1, 0.9], [0.6, 0.4], [0.2, 0.8]], [[0, 1], [1, 0], [1, 0]], 2 / 3),
        ([[0.1], [0.7], [0.9]], [0, 1, 0], 2 / 3),  # Probabilities.
        ([[-0.1], [0.2], [3.0]], [[0], [1], [1]], 1.0),  # Logits.
        ([[[0.1, 0.9], [0.6, 0.4]]], [[1, 1]], 0.5),  # A class for each position.
    ],
)
def test_accuracy(outputs, labels, expected):
    outputs = [np.array(outputs)]
    assert accuracy(outputs, classes(labels, outputs)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shapes", "labels", "message"),
    [
        ([(3, 2)], np.zeros(4), r"\(3,\), \(3, 1\) or \(3, 2\).*\(4,\)"),
        ([(3, 2), (3, 1)], np.zeros(3), "one output.*2 outputs"),
        ([(3,)], np.zeros(3), "axis of classes"),
    ],
)
def test_labels_that_do_not_fit(shapes, labels, message):
    with pytest.raises(ValueError, match=message):
        classes(labels, [np.zeros(shape) for shape in shapes])


@settings(deadline=None)
@given(rows=st.integers(0, 20), size=st.integers(1, 9))
def test_any_number_of_rows_in_pieces_of_one_size(rows, size):
    seen = []

    def run(x):
        seen.append([len(a) for a in x])
        return [x[0] * 2, x[1].sum(axis=1)]

    x = [np.arange(3 * rows).reshape(rows, 3), np.ones((rows, 2), "int32")]
    first, second = in_batches(run, x, size)
    np.testing.assert_array_equal(first, 2 * x[0])
    np.testing.assert_array_equal(second, x[1].sum(axis=1))
    assert second.dtype == run(x)[1].dtype
    assert all(lengths == [size, size] for lengths in seen[:-1])


def test_calls_are_timed_in_turns(monkeypatch):
    """On a clock that only calls and pauses move, against counting from its record."""
    now, record = [0.0], []
    generator = np.random.default_rng(1)
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])

    def pass_by(name, seconds):
        record.append((name, now[0], seconds))
        now[0] += seconds

    monkeypatch.setattr(benchmark.time, "sleep", lambda seconds: pass_by("", seconds))
    scales = {"quick": 1e-3, "slow": 1.0}
    calls = {
        name: lambda name=name, s=s: pass_by(name, s * generator.uniform(1, 9))
        for name, s in scales.items()
    }
    found = benchmark.interleaved(calls, 3)

    pauses = [i for i, (name, *_) in enumerate(record) if not name]
    turns = [record[i:j] for i, j in zip(pauses, [*pauses[1:], None], strict=True)]
    order = " ".join(turn[1][0] for turn in turns)
    assert order == "quick slow slow quick quick slow"
    medians = {name: [] for name in calls}
    for (_, _, pause), *turn in turns:
        assert pause == 0.02
        assert len({name for name, *_ in turn}) == 1
        warm_until = turn[0][1] + 0.03
        warm = [call for call in turn if call[1] < warm_until]
        timed = turn[len(warm) :]
        assert len(warm) >= 1
        assert timed[-1][1] - timed[0][1] < 0.05 <= sum(c[2] for c in timed) + 1e-9
        medians[turn[0][0]].append(np.median([c[2] for c in timed]))
    for name, values in medians.items():
        assert found[name] == pytest.approx(np.median(values), rel=1e-9)
