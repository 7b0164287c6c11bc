"""A worker is killed, all start again, and the result is the same."""

import numpy as np
import pytest

from keras_dnn.distribution._lost_worker import NOTE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(run_workers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    statuses, logs = run_workers(folder, "resuming.py", str(folder), "nobody")
    assert statuses == [0, 0], logs[0][-3000:]
    return folder


@pytest.fixture(scope="module")
def interrupted(run_workers, tmp_path_factory):
    """A folder, and statuses and logs of the interrupted run and the next one."""
    folder = tmp_path_factory.mktemp("interrupted")
    arguments = (folder, "resuming.py", str(folder))
    runs = [run_workers(*arguments, who, grace=60) for who in ("1", "nobody")]
    return folder, *runs


def numbers(folder, worker):
    with np.load(folder / f"end-{worker}.npz") as arrays:
        return [arrays[name] for name in arrays.files]


def test_the_other_worker_ends_and_explains_what_to_do(interrupted):
    _, (statuses, logs), _ = interrupted
    assert statuses == [1, -9]
    assert "UnavailableError" in logs[0]
    assert logs[0].rstrip().endswith(NOTE)


def test_training_continues_from_the_backup(interrupted):
    *_, (statuses, logs) = interrupted
    assert statuses == [0, 0], logs[0][-3000:]
    for log in logs:
        assert [line for line in log.splitlines() if line.startswith("epoch")] == [
            "epoch 2",
            "epoch 3",
            "epoch 4",
        ]


@pytest.mark.parametrize("worker", [0, 1])
def test_the_result_is_that_of_an_uninterrupted_run(uninterrupted, interrupted, worker):
    expected = numbers(uninterrupted, 0)
    found = numbers(interrupted[0], worker)
    assert len(found) == len(expected) > 10
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_only_the_chief_writes(uninterrupted):
    written = {path.name for path in (uninterrupted / "worker-0").iterdir()}
    assert written == {"last.keras", "log.csv", "board", "norms", "norms.csv"}
    assert not (uninterrupted / "worker-1").exists()
    rows = (uninterrupted / "worker-0" / "log.csv").read_text().split()
    assert len(rows) == 1 + 5
    # Otherwise the scheduler's state would not have been tested.
    rates = [float(row.split(",")[1]) for row in rows[1:]]
    assert rates[2] > rates[3]
