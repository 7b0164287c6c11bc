"""The checks that preflight makes, in their order: causes before what follows."""

import dataclasses

from keras_dnn.diagnostics._checks import (
    data,
    learning,
    signal,
    structure,
)
from keras_dnn.diagnostics.check import GUIDE, REGISTRY

ORDER = (
    data,
    structure,
    signal,
    learning,
)

for room in ORDER:
    for name in [n for n, c in REGISTRY.items() if c.find.__module__ == room.__name__]:
        found = REGISTRY.pop(name)
        REGISTRY[name] = dataclasses.replace(found, see=f"{GUIDE}#{name}")
