"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_dnn.models._runtimes.converters import convert
from keras_dnn.models._runtimes.runtime import Files, Run, Runtime, numbered
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models._runtimes.stored_files import StoredFiles

FILE = "model.onnx"


class ONNXRuntime(Runtime):
    """The model in the ONNX format, in Microsoft's runtime."""

    description = "where `onnxruntime` and `tf2onnx` are installed"
    bits = 32

    def why_unavailable(self) -> str:
        try:
            import onnxruntime  # noqa: F401
        except ImportError:
            return "needs ONNX Runtime: pip install 'keras_dnn[export]'"
        return ""

    def build(self, source: RuntimeSource) -> Files:
        folder = source.folder / "onnx"
        folder.mkdir()
        convert("onnx", source.saved_model(source.in_float32), folder / FILE)
        return StoredFiles(folder)

    def load(self, files: Files, threads: int) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Its threads wait for the next call at full speed, for tens of milliseconds,
        # which would slow down the runtime that is measured next. Within a call they
        # may: one on MobileNetV2 takes as long.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(
            str(files.folder / FILE) if isinstance(files, StoredFiles) else files[FILE],
            options,
            providers=onnxruntime.get_available_providers(),
        )
        floats = [x.name for x in session.get_inputs() if x.type == "tensor(float)"]
        outputs = numbered(output.name for output in session.get_outputs())

        def run(x: Sequence[np.ndarray]) -> list[np.ndarray]:
            inputs = {
                f"x{i}": a.astype("float32", copy=False) if f"x{i}" in floats else a
                for i, a in enumerate(x)
            }
            found: list[np.ndarray] = session.run(outputs, inputs)
            return found

        return run
