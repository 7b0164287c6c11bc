"""What is asked of Keras here is asked of Keras as it is."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _optimizers_of_keras() -> None:
    """Keras's optimizers stay as they are."""
