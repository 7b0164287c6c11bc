"""Reads data in every form that `fit` and `predict` take.

Arrays (also nested in lists, tuples and dicts), a `tf.data.Dataset`, a
`keras.utils.PyDataset` or a generator: only this package tells them apart.
"""

from keras_dnn._batches.count import count_of_batches
from keras_dnn._batches.endless import endless
from keras_dnn._batches.inputs import (
    batches,
    first_batch,
    first_batches,
    symbolic_inputs,
)
from keras_dnn._batches.kinds import is_batched
from keras_dnn._batches.parts import first_rows, sample_of

__all__ = [
    "batches",
    "count_of_batches",
    "endless",
    "first_batch",
    "first_batches",
    "first_rows",
    "is_batched",
    "sample_of",
    "symbolic_inputs",
]
