"""New weights for a whole model."""

from __future__ import annotations

import numpy as np

from keras_dnn import initializers
from tests.zoo.battery import operation
from tests.zoo.subject import Subject

GROUP = "surgery"


@operation(GROUP, "initializers.initialize", "initializers.HeNormal")
def initialize(subject: Subject) -> None:
    model = subject.fresh()
    before = {v.path: v.numpy() for v in model.variables}
    initializers.initialize(model, initializers.HeNormal(seed=1))
    changed = {v.path for v in model.variables if not np.array_equal(v, before[v.path])}
    assert changed
    assert changed <= {v.path for v in model.trainable_variables if v.ndim > 1}


@operation(GROUP, "initializers.lsuv", "initializers.LSUVResult")
def lsuv(subject: Subject) -> None:
    model = subject.fresh()
    result = initializers.lsuv(model, subject.inputs, tolerance=0.1, seed=1, verbose=0)
    assert len(result.layers) > 0
    np.testing.assert_allclose(result.after, 1.0, atol=0.11)
