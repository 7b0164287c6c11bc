"""A training history: what it says of its losses, and what an empty one is like."""

import numpy as np

from keras_dnn.diagnostics import TrainingHistory
from tests.diagnostics.histories import CHECKS, history


def test_the_losses_of_the_beginning_and_the_end():
    """A twentieth of the steps and no more than five; a tenth."""
    some = history(losses=np.arange(60.0))
    assert (some.first_loss, some.last_loss) == (1.0, 56.5)
    assert history(losses=np.arange(1000.0)).first_loss == 2.0
    assert history(losses=np.array([3.0])).last_loss == 3.0
    # The loss has fallen by a third, or not quite.
    assert history(losses=np.array([3.0] * 36 + [1.99] * 4)).has_learnt
    assert not history(losses=np.array([3.0] * 36 + [2.01] * 4)).has_learnt


def test_checks_run_on_losses_alone():
    """As in a test of a check of one's own."""
    losses = TrainingHistory(losses=np.array([1.0] * 54 + [2.0] * 6))
    found = [f.name for check in CHECKS.values() for f in check.findings(losses)]
    assert found == ["rate-too-high"]
