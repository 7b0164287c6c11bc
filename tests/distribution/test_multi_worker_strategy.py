"""Two workers train as one process on the same batches, up to rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.distribution.equality_cases import CASES

pytestmark = pytest.mark.slow
# For sums in another order, in float64. A wrong weight of a worker causes 1e-3.
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def trained(run_workers, tmp_path_factory):
    """The arrays of each worker, by case."""
    folder = tmp_path_factory.mktemp("equality")
    statuses, logs = run_workers(folder, "equality_cases.py", str(folder))
    assert statuses == [0, 0], "\n".join(log[-3000:] for log in logs)
    return {
        name: [dict(np.load(folder / f"{name} {i}.npz")) for i in range(2)]
        for name in CASES
    }


@pytest.fixture
def float64():
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", CASES)
def test_both_workers_end_with_the_same_bits(trained, name):
    first, second = trained[name]
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_two_workers_equal_one_process(trained, float64, name):
    expected = CASES[name](tf.distribute.get_strategy())
    for found in trained[name]:
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key], value, rtol=TOLERANCE, atol=TOLERANCE, err_msg=key
            )


def test_tensorflow_alone_still_fails(run_workers, tmp_path):
    # When this fails, Keras has fixed https://github.com/keras-team/keras/issues/20585
    # and `MultiWorkerStrategy.reduce` is no longer needed.
    statuses, logs = run_workers(tmp_path, "tensorflow_strategy.py", str(tmp_path))
    assert statuses == [0, 0], logs[0][-3000:]
    for i in range(2):
        assert "PerReplica" in (tmp_path / f"plain-{i}.txt").read_text()
