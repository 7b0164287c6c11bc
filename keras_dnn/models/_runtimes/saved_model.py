"""The model as a graph of TensorFlow: with variables, folded, or with constants."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn._tensorflow import tf
from keras_dnn.models._runtimes.runtime import Files, Form, Run, numbered
from keras_dnn.models._runtimes.source import Network, read_files, write_files


def _as_it_is(network: Network) -> Files:
    return read_files(network.write(network.model, "model"))


def _folded(network: Network) -> Files:
    if network.folded is None:
        raise ValueError("the model could not be folded, for the reason given below")
    return read_files(network.saved)


def _frozen(network: Network) -> Files:
    # Not public, but what TensorFlow has for graphs of its second version.
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    function = network.function(network.lean)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())

    def serve(*x: Any) -> dict[str, Any]:
        return {f"y{i}": y for i, y in enumerate(frozen(*x))}

    # A frozen function called by itself is not optimised as one inside another is: on a
    # small network that made 13 ms of 1.
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=network.signature(None))
    folder = network.folder / "frozen"
    tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
    return read_files(folder)


def _open(files: Files, threads: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        loaded = tf.saved_model.load(folder)
    function = loaded.signatures["serve"]
    outputs = numbered(function.structured_outputs)

    # `loaded` owns the variables.
    def run(x: Sequence[np.ndarray], owner: Any = loaded) -> list[np.ndarray]:
        tensors = {f"x{i}": tf.convert_to_tensor(a) for i, a in enumerate(x)}
        found = function(**tensors)
        return [found[name].numpy() for name in outputs]

    return run


AS_IT_IS = Form("tf.function", None, _as_it_is, _open, any_batch=True)
FOLDED = Form("folded tf.function", None, _folded, _open, any_batch=True)
FROZEN = Form("frozen graph", None, _frozen, _open, any_batch=True)
