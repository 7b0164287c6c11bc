"""The checks that preflight makes, in their order: causes before what follows."""

import dataclasses

from keras_dnn.diagnostics import (
    _data_checks,
    _learning_checks,
    _signal_checks,
    _structure_checks,
)
from keras_dnn.diagnostics.check import GUIDE, REGISTRY

ORDER = (
    _data_checks,
    _structure_checks,
    _signal_checks,
    _learning_checks,
)

for room in ORDER:
    for name in [n for n, c in REGISTRY.items() if c.find.__module__ == room.__name__]:
        found = REGISTRY.pop(name)
        REGISTRY[name] = dataclasses.replace(found, see=f"{GUIDE}#{name}")
