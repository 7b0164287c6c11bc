"""Monte Carlo samples, on every model of the zoo."""

from collections.abc import Callable

import pytest

from tests.zoo.all_models import ZOO
from tests.zoo.model_case import ZooModel

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("zoo", ZOO.values(), ids=str)
def test_sampling(zoo: ZooModel, run: Callable[[str, ZooModel], None]) -> None:
    run("sampling", zoo)
