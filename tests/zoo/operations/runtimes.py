"""Fast functions made from a model, equal to its `predict`."""

from __future__ import annotations

import keras
import numpy as np

from keras_dnn import models
from tests.zoo.battery import operation
from tests.zoo.subject import Subject, assert_close, precision_of, preprocesses

GROUP = "runtimes"
CANDIDATES = ["folded tf.function", "TFLite float32"]
TOLERANCE = 1e-3


@operation(
    GROUP,
    "models.optimize_for_inference",
    "models.InferenceResult",
    "models.Candidate",
    needs=["predicts"],
)
def optimize_for_inference(subject: Subject) -> None:
    batched = subject.batched
    data = subject.inputs if batched else subject.data.inputs
    # A model in half precision is compared with runtimes that compute in float32.
    tolerance = max(TOLERANCE, 8 * precision_of(subject.model))
    result = models.optimize_for_inference(
        subject.model, data, tolerance, CANDIDATES, rounds=1, verbose=0
    )
    assert result.fastest is not None, str(result)
    if preprocesses(subject.model):
        data = subject.model.preprocessor(data)
    found = [np.asarray(a) for a in keras.tree.flatten(result(data))]
    assert_close(found, subject.expected, tolerance)
