"""The precision of losses and probabilities, whatever the rest computes in."""

from __future__ import annotations


def at_least_float32(dtype: str) -> str:
    """The dtype of a loss or a probability that is computed from this dtype.

    Half precision is too coarse for them.
    """
    # Keras's own `result_type` gives float64 on TensorFlow only.
    return "float64" if dtype == "float64" else "float32"
