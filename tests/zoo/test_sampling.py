"""Monte Carlo samples, on every model of the zoo."""

from collections.abc import Callable

import pytest

from tests.zoo.model_case import ZooModel
from tests.zoo.sample import every_model

pytestmark = pytest.mark.slow


@every_model()
def test_sampling(zoo: ZooModel, run: Callable[[str, ZooModel], None]) -> None:
    run("sampling", zoo)
