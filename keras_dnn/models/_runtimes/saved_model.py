"""The model as a TensorFlow graph: with variables, folded, or with constants."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn import _files
from keras_dnn._keras.frozen_graph import with_constants
from keras_dnn._tensorflow import tf
from keras_dnn.models._runtimes.runtime import Files, Run, Runtime, numbered
from keras_dnn.models._runtimes.source import RuntimeSource, read_files


class TensorFlowFunction(Runtime):
    """The model as it is, in a `tf.function`."""

    description = "the model as it is, compiled into a graph"

    def build(self, source: RuntimeSource) -> Files:
        return read_files(source.saved_model(source.original))

    def load(self, files: Files, threads: int) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            _files.unpack(files, Path(folder))
            loaded = tf.saved_model.load(folder)
        function = loaded.signatures["serve"]
        outputs = numbered(function.structured_outputs)

        # `loaded` owns the variables.
        def run(x: Sequence[np.ndarray], owner: Any = loaded) -> list[np.ndarray]:
            tensors = {f"x{i}": tf.convert_to_tensor(a) for i, a in enumerate(x)}
            found = function(**tensors)
            return [found[name].numpy() for name in outputs]

        return run


class FoldedFunction(TensorFlowFunction):
    """The model without batch norms."""

    description = "the same without batch norms"

    def build(self, source: RuntimeSource) -> Files:
        if not source.is_folded:
            raise ValueError(
                "the model could not be folded, for the reason given below"
            )
        return read_files(source.saved_model())


class FrozenGraph(TensorFlowFunction):
    """The model without batch norms, its weights constants of the graph."""

    description = "that with its weights as constants"

    def build(self, source: RuntimeSource) -> Files:
        frozen = with_constants(source.function())

        def serve(*x: Any) -> dict[str, Any]:
            outputs = frozen(*x)
            # In the order of the sorted names, in which y10 comes before y2.
            names = sorted(f"y{i}" for i in range(len(outputs)))
            return dict(zip(names, outputs, strict=True))

        # A frozen function called on its own is not optimised as one inside another
        # is: on a small network it took 13 ms instead of 1.
        module = tf.Module()
        module.serve = tf.function(serve, input_signature=source.specs())
        folder = source.folder / "frozen"
        tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
        return read_files(folder)
