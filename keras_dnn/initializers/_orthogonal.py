"""Random matrices with orthonormal rows or columns, uniformly distributed."""

from __future__ import annotations

from typing import Any

import keras

from keras_dnn._kernel_axes import Shape
from keras_dnn._typing import Tensor


def orthogonal(shape: Shape, seed: Any) -> Tensor:
    """Draws `shape[0]` matrices with orthonormal rows or columns, whichever are fewer.

    They are the orthogonal factor of the QR decomposition of a Gaussian matrix,
    multiplied by the signs of the triangular factor's diagonal, which the algorithm
    leaves open; otherwise the distribution would not be uniform.
    """
    count, rows, columns = shape
    long, short = max(rows, columns), min(rows, columns)
    normal = keras.random.normal((count, long, short), dtype="float32", seed=seed)
    q, r = keras.ops.qr(normal)
    diagonal = keras.ops.diagonal(r, axis1=-2, axis2=-1)
    q = q * keras.ops.where(diagonal < 0, -1.0, 1.0)[:, None, :]
    return q if rows >= columns else keras.ops.swapaxes(q, -1, -2)
