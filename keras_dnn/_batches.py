"""Batches of inputs, whatever form they come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_dnn._tensorflow import tf


def batches(x: Any, batch_size: int) -> Iterator[tuple[Any, int | None]]:
    """Batches of inputs, each with the number of batches if it is known."""
    if isinstance(x, tf.data.Dataset):
        size = int(x.cardinality())
        for batch in x:
            yield keras.utils.unpack_x_y_sample_weight(batch)[0], max(size, 0) or None
    elif isinstance(x, keras.utils.PyDataset):
        for i in range(len(x)):
            batch = keras.utils.unpack_x_y_sample_weight(x[i])[0]
            yield keras.tree.map_structure(tf.convert_to_tensor, batch), len(x)
    else:
        given, x = x, keras.tree.map_structure(np.asarray, x)
        if not all(a.ndim for a in keras.tree.flatten(x)):
            raise ValueError(
                "x must hold arrays with a row for each input, or be a tf.data.Dataset "
                f"or a keras.utils.PyDataset. Received: x={given!r}"
            )
        lengths = {len(a) for a in keras.tree.flatten(x)}
        if len(lengths) != 1:
            raise ValueError(
                "x must hold arrays of the same length. Received arrays of lengths "
                f"{sorted(lengths)}"
            )
        rows = lengths.pop()
        for start in range(0, rows, batch_size):
            part = slice(start, start + batch_size)
            yield (
                keras.tree.map_structure(
                    lambda a, s=part: tf.convert_to_tensor(a[s]), x
                ),
                -(-rows // batch_size),
            )
