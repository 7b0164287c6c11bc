"""How a function of a model is written for runtimes other than Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_dnn._tensorflow import tf


def write_saved_model(model: keras.Model, function: Any, folder: str | Path) -> None:
    """Writes a `tf.function` of one input signature that uses the model's weights."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", function)
    archive.write_out(str(folder), verbose=False)


def to_tflite(
    folder: str | Path, adjust: Callable[[Any], None] = lambda converter: None
) -> bytes:
    """Converts a SavedModel, after `adjust` has set the converter's options.

    From a SavedModel: straight from the function the weights would be missing.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    adjust(converter)
    return bytes(converter.convert())


def to_onnx(function: Any, signature: Sequence[Any]) -> bytes:
    """Converts a `tf.function`.

    Raises:
        ImportError: if tf2onnx is not installed.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            "Converting to ONNX needs tf2onnx: pip install 'keras_dnn[export]'"
        ) from error
    converted, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=17
    )
    return bytes(converted.SerializeToString())
