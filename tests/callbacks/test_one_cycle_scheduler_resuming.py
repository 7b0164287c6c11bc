"""`OneCycleScheduler` in a process that is killed, and in the next one."""

import numpy as np
import pytest

from keras_dnn.callbacks import OneCycleScheduler
from keras_dnn.optimizers import Adam, Nesterov
from keras_dnn.optimizers.schedules import OneCycle
from tests.callbacks.harness import fit
from tests.callbacks.resumed_training import Case, Setup, small_network

pytestmark = pytest.mark.slow

EPOCHS, BATCHES = 4, 6
STEPS = EPOCHS * BATCHES


def rates():
    return OneCycle(0.3, STEPS).values(range(STEPS))


def setup(optimizer="Nesterov", fitted_before=False, block=1):
    model = small_network()
    make = {"Adam": Adam, "Nesterov": Nesterov}[optimizer]
    model.compile(make(0.01), "mse", steps_per_execution=block)
    x = np.random.default_rng(0).normal(size=(4 * BATCHES, 3)).astype("float32")
    data = x, x[:, :1]
    if fitted_before:
        fit(model, data, epochs=2)
    cycle = OneCycleScheduler(0.3)

    def result():
        return {"total": cycle.schedule.total_steps, "coverage": cycle.coverage}

    return Setup(model, data, EPOCHS, cycle, result)


BACKUP_FIRST, BACKUP_LAST = "backup tested log kill", "tested log kill backup"
# Keras begins the epoch again, with the weights of its fourth step.
WITHIN = {
    "in the third epoch": Case(BACKUP_FIRST, (2, 4), save_freq=4),
    "in the first epoch": Case(BACKUP_FIRST, (0, 4), save_freq=4),
}
AT_EPOCHS = {
    "backup first": Case(
        BACKUP_FIRST, (2, 3), {"optimizer": "Adam", "fitted_before": True}
    ),
    "backup last": Case(BACKUP_LAST, (3, 5)),
    "in blocks": Case(BACKUP_FIRST, (2, 2), {"block": 3}),
    # When only one of the two has seen the end of the epoch.
    "killed after the backup": Case("backup kill tested log", (1, None)),
    "killed before the backup": Case(BACKUP_LAST, (1, None)),
}
CASES = AT_EPOCHS | WITHIN


@pytest.mark.parametrize("name", AT_EPOCHS)
def test_a_killed_run_continues_the_same_cycle_bit_for_bit(ends, name):
    uninterrupted, resumed = ends(name)
    series = {"rates", "momenta", "losses"}
    for key in uninterrupted.keys() - series:
        np.testing.assert_array_equal(resumed[key], uninterrupted[key], err_msg=key)
    for key in series:
        last = uninterrupted[key][-len(resumed[key]) :]
        np.testing.assert_array_equal(resumed[key], last, err_msg=key)
    np.testing.assert_allclose(uninterrupted["rates"], rates(), rtol=1e-5)
    assert len(uninterrupted["rates"]) == uninterrupted["total"] == STEPS
    # The epoch in which it was killed is trained again, and no other.
    epoch, batch = CASES[name].kill
    saved = epoch + (batch is None and name == "killed after the backup")
    assert len(resumed["rates"]) == STEPS - BATCHES * saved


@pytest.mark.parametrize("name", WITHIN)
def test_an_epoch_that_is_trained_again_has_its_part_of_the_cycle_again(ends, name):
    _, resumed = ends(name)
    assert resumed["total"] == STEPS
    assert resumed["coverage"] == 1
    start = BATCHES * CASES[name].kill[0]
    np.testing.assert_allclose(resumed["rates"], rates()[start:], rtol=1e-5)
