"""Converts a SavedModel to TFLite with 8 bits; a script, run in a separate process.

The quantising converter can crash the process, for instance on a recurrent layer.
Arguments: the SavedModel, an `.npz` file with calibration batches, and the file to
write.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf


def quantize(folder: str, calibration: str) -> bytes:
    """The model with weights and activations of 8 bits where there are such kernels."""
    inputs = dict(np.load(calibration))

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for i in range(len(inputs["x0"])):
            yield {name: values[i] for name, values in inputs.items()}

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = batches
    return bytes(converter.convert())


if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(quantize(*sys.argv[1:3]))
