"""Models in the shape of what people build, from the zoo of the tests.

Their data are few and random, so that only `preflight` examines them.
"""

import random

from diagnosed.case import CASES, Case, Task, half
from tests.zoo.all_models import ZOO

COUNT = 12


def _entered(name):
    def make(rng):
        data = ZOO[name].data()
        return Task(ZOO[name].make(), data.x, data.y, data.sample_weight)

    make.__module__ = __name__
    about = ZOO[name].about
    CASES[f"zoo_{name}"] = Case(
        f"zoo_{name}", "zoo", frozenset(), "preflight", make, about
    )


_drawn = [name for name in sorted(ZOO) if half(f"zoo_{name}") == "development"]
for _name in random.Random(19).sample(_drawn, COUNT):
    _entered(_name)
