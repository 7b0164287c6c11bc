"""OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from keras_dnn.models._runtimes.runtime import Files, Run, Runtime, numbered
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models._runtimes.stored_files import StoredFiles

FILE, WEIGHTS = "model.xml", "model.bin"


class OpenVINO(Runtime):
    """Intel's runtime, limited to 32 bits."""

    description = "where `openvino` is installed, limited to 32 bits"
    bits = 32
    any_batch = False
    precision: ClassVar[str] = "f32"
    half: ClassVar[bool] = False

    def why_unavailable(self) -> str:
        try:
            import openvino  # noqa: F401
        except ImportError:
            return "needs OpenVINO: pip install openvino"
        return ""

    def build(self, source: RuntimeSource) -> Files:
        import openvino

        shapes = [
            (f"x{i}", [source.batch_size, *each.shape])
            for i, each in enumerate(source.signature.inputs)
        ]
        folder = source.folder / f"openvino-{self.precision}"
        folder.mkdir()
        saved = source.saved_model(source.in_float32)
        model = openvino.convert_model(str(saved), input=shapes)
        openvino.save_model(model, folder / FILE, compress_to_fp16=self.half)
        return StoredFiles(folder)

    def load(self, files: Files, threads: int) -> Run:
        import openvino

        core = openvino.Core()
        model = core.read_model(files[FILE], files[WEIGHTS])
        # By itself it computes in bfloat16 where the processor can.
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
        }
        request = core.compile_model(model, "CPU", hints).create_infer_request()
        outputs = numbered(name for y in model.outputs for name in y.get_names())

        # A request holds the tensors of one call.
        lock = threading.Lock()

        def run(x: Sequence[np.ndarray]) -> list[np.ndarray]:
            with lock:
                found = request.infer({f"x{i}": a for i, a in enumerate(x)})
                return [found[name].copy() for name in outputs]

        return run


class OpenVINOBfloat16(OpenVINO):
    """Intel's runtime, with weights and activations of 16 bits."""

    description = (
        "weights and activations in 16 bits, with 8 bits of precision, where the "
        "processor has instructions for them"
    )
    bits = 16
    precision = "bf16"
    half = True

    def why_unavailable(self) -> str:
        missing = super().why_unavailable()
        if missing:
            return missing
        import openvino

        supported = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if "BF16" in supported:
            return ""
        return "this processor has no instructions for bfloat16"
