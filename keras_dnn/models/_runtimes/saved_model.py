"""The model as a TensorFlow graph: with variables, folded, or with constants."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_dnn import _files
from keras_dnn._tensorflow import tf
from keras_dnn.models._runtimes.converters import convert
from keras_dnn.models._runtimes.runtime import Files, Run, Runtime, numbered
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models._runtimes.stored_files import StoredFiles


class TensorFlowFunction(Runtime):
    """The model as it is, in a `tf.function`."""

    description = "the model as it is, compiled into a graph"

    def build(self, source: RuntimeSource) -> Files:
        return StoredFiles(source.saved_model(source.original))

    def load(self, files: Files, threads: int) -> Run:
        loaded = _loaded(files)
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
        return StoredFiles(source.saved_model())


class FrozenGraph(TensorFlowFunction):
    """The model without batch norms, its weights constants of the graph."""

    description = "that with its weights as constants"

    def build(self, source: RuntimeSource) -> Files:
        folder = source.folder / "frozen"
        convert("frozen", source.saved_model(), folder)
        return StoredFiles(folder)


def _loaded(files: Files) -> Any:
    if isinstance(files, StoredFiles):
        return tf.saved_model.load(str(files.folder))
    with tempfile.TemporaryDirectory() as folder:
        _files.unpack(files, Path(folder))
        return tf.saved_model.load(folder)
