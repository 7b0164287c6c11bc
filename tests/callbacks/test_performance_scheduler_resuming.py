"""`PerformanceScheduler` in a process that is killed, and in the next one."""

import json

import keras
import numpy as np
import pytest

from keras_dnn.callbacks import PerformanceScheduler
from keras_dnn.optimizers import Adam
from keras_dnn.optimizers.schedules import CosineDecay
from tests.callbacks.harness import Report
from tests.callbacks.resumed_training import Case, Setup, small_network

pytestmark = pytest.mark.slow

VALUES = [1, 0.9, 0.95, 0.95, 0.93, 0.8, 0.85, 0.85, 0.85, 0.85]
EPOCHS, BATCHES = len(VALUES), 3


def setup(optimizer="Adam", schedule=True, restore_best=False, by_batch=False):
    model = small_network()
    make = {"Adam": Adam, "keras": keras.optimizers.Adam}[optimizer]
    model.compile(make(CosineDecay(0.1, decay_steps=40) if schedule else 0.1), "mse")
    x = np.random.default_rng(0).normal(size=(4 * BATCHES, 3)).astype("float32")
    every = {"every": 2, "validation_data": (x + 1, x[:, :1])} if by_batch else {}
    plateau = PerformanceScheduler(
        patience=2, cooldown=1, restore_best=restore_best, **every
    )

    def result():
        config = json.dumps(model.optimizer.get_config(), default=str)
        names = "best", "wait", "reductions"
        return {"config": config} | {name: getattr(plateau, name) for name in names}

    before = (Report("val_loss", VALUES),)
    return Setup(model, (x, x[:, :1]), EPOCHS, plateau, result, before)


# Reductions come after the fourth epoch and after the eighth, with a cooldown of 1.
KERAS_FLOAT = {"optimizer": "keras", "schedule": False}
BACKUP_FIRST, BACKUP_LAST = "backup tested log kill", "tested log kill backup"
CASES = {
    "backup first": Case(BACKUP_FIRST, (4, 1)),
    "backup last": Case(BACKUP_LAST, (4, 1)),
    "a float, backup first": Case(BACKUP_FIRST, (4, 0), KERAS_FLOAT),
    "a float, backup last": Case(BACKUP_LAST, (7, 0), KERAS_FLOAT),
    "best weights, backup first": Case(BACKUP_FIRST, (4, 1), {"restore_best": True}),
    "best weights, backup last": Case(BACKUP_LAST, (5, None), {"restore_best": True}),
    "within epochs": Case(BACKUP_LAST, (4, 1), {"by_batch": True}),
    "killed before the backup": Case(BACKUP_LAST, (4, None)),
    "killed before the evaluation": Case("backup kill tested log", (4, None)),
}
ONE_AHEAD = "killed before the evaluation"


@pytest.mark.quick
@pytest.mark.parametrize("name", [name for name in CASES if name != ONE_AHEAD])
def test_a_killed_run_continues_bit_for_bit(ends, name):
    uninterrupted, resumed = ends(name)
    assert int(uninterrupted["reductions"]) >= 2
    series = {"rates", "momenta", "losses"}
    for key in uninterrupted.keys() - series:
        np.testing.assert_array_equal(resumed[key], uninterrupted[key], err_msg=key)
    for key in series:
        last = uninterrupted[key][-len(resumed[key]) :]
        np.testing.assert_array_equal(resumed[key], last, err_msg=key)
    # The epoch in which it was killed is trained again, and no other.
    assert len(resumed["rates"]) == BATCHES * (EPOCHS - CASES[name].kill[0])


def test_a_backup_that_is_one_evaluation_ahead_loses_only_that_evaluation(ends):
    """The model is saved at an epoch's end, and the process killed just after."""
    _, resumed = ends(ONE_AHEAD)
    own = CosineDecay(0.1, decay_steps=40).values(range(15, 30))
    assert len(resumed["rates"]) == 15
    # The reduction after the fourth epoch is kept.
    np.testing.assert_allclose(resumed["rates"][:9], own[:9] / 2, rtol=1e-5)
    assert float(resumed["best"]) == 0.8
