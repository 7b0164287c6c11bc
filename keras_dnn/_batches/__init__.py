"""Reads data in every form that `fit` and `predict` take.

Arrays (of NumPy, pandas, PyTorch, JAX, SciPy and TensorFlow, ragged and sparse ones
too, also nested in lists, tuples and dicts), a `tf.data.Dataset`, a
`keras.utils.PyDataset`, a generator or a `DataLoader`: only this package tells them
apart. A list of arrays is several inputs or outputs; a tuple, where data hold targets
too, is `(x, y)` or `(x, y, sample_weight)`.
"""

from keras_dnn._batches.arrays import (
    as_arrays,
    count_of_rows,
    joined,
    require_rows,
    rows_in,
    rows_of,
)
from keras_dnn._batches.count import count_of_batches
from keras_dnn._batches.endless import endless, require_alone
from keras_dnn._batches.inputs import (
    batches,
    first_batch,
    first_batches,
    symbolic_inputs,
)
from keras_dnn._batches.kinds import first_of, is_batched, is_generator
from keras_dnn._batches.parts import as_tensors, first_rows, sample_of

__all__ = [
    "as_arrays",
    "as_tensors",
    "batches",
    "count_of_batches",
    "count_of_rows",
    "endless",
    "first_batch",
    "first_batches",
    "first_of",
    "first_rows",
    "is_batched",
    "is_generator",
    "joined",
    "require_alone",
    "require_rows",
    "rows_in",
    "rows_of",
    "sample_of",
    "symbolic_inputs",
]
