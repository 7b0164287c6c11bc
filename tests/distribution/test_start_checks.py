"""What would silently go wrong on several workers is refused or corrected."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.distribution import start_check_cases

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(run_workers, tmp_path_factory):
    """The result of each worker, by case."""
    folder = tmp_path_factory.mktemp("start_checks")
    statuses, logs = run_workers(folder, "start_check_cases.py", str(folder))
    assert statuses == [0, 0], "\n".join(log[-3000:] for log in logs)
    files = [folder / f"found-{i}.json" for i in range(2)]
    return [json.loads(file.read_text()) for file in files]


MESSAGES = {
    "no seed": r"ValueError: .* same random seed.*seeds=\[None, None\]",
    "seeds": r"ValueError: .* same random seed.*seeds=\[0, 1\]",
    "steps_per_execution": r"ValueError: .*steps_per_execution=2",
    "jit_compile": r"ValueError: .*jit_compile=True",
    "accumulation": r"ValueError: .*gradient_accumulation_steps=2",
    "overwriting": r"ValueError: .*ema_overwrite_frequency=2",
    "small batch": r"ValueError: batch_size must be at least 2.*batch_size=1",
    "metric": r"ValueError: The metric .* `with strategy.scope\(\):`",
    "start": r"ValueError: .*save_on_chief\(BackupAndRestore.*iterations=\[0, 0\]",
    "clipping": r"UserWarning: .*apply clipnorm to each worker's",
    "batch norm": r"UserWarning: .*'batch_normalization.*synchronized=True",
    "empty": r"(?s)InvalidArgumentError: .*too few rows for the batch normalisation",
    "nothing": r"$",
    "synchronised": r"$",
}


@pytest.mark.parametrize("case", MESSAGES)
def test_every_worker_explains_what_to_do(found, case):
    for worker in found:
        assert re.match(MESSAGES[case], worker[case]), worker[case]


@pytest.mark.parametrize("case", ["overflow", "few rows"])
def test_trains_as_one_process(found, case):
    expected = start_check_cases.CASES[case](tf.distribute.get_strategy())
    for worker in found:
        for mine, theirs in zip(worker[case], expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_each_worker_drops_other_units(found):
    # Predictions x steps x workers x rows x units.
    masks = np.array(found[0]["masks"])
    assert masks.shape == (2, 2, 2, 4, 64)
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks, found[1]["masks"])
    assert set(np.unique(masks)) == {0.0, 2.0}
    # No worker repeats the mask of another, in the same step or a later one.
    blocks = masks[0].reshape(4, -1)
    agreement = np.array([[np.mean(a == b) for b in blocks] for a in blocks])
    assert agreement[~np.eye(4, dtype=bool)].max() < 0.65
    assert 0.4 < (masks > 0).mean() < 0.6
