"""OpenVINO."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dnn.models._forms.form import Files, Form, Run, numbered
from keras_dnn.models._forms.network import Network

FILE, WEIGHTS = "model.xml", "model.bin"


def _make(network: Network) -> Files:
    openvino = _runtime()
    shapes = [
        (f"x{i}", [network.batch_size, *port.shape])
        for i, port in enumerate(network.ports.inputs)
    ]
    model = openvino.convert_model(str(network.saved), input=shapes)
    openvino.save_model(model, network.folder / FILE, compress_to_fp16=False)
    return {name: (network.folder / name).read_bytes() for name in (FILE, WEIGHTS)}


def _open(files: Files, threads: int) -> Run:
    core = _runtime().Core()
    model = core.read_model(files[FILE], files[WEIGHTS])
    # By itself it computes in bfloat16 where the processor can.
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    outputs = numbered(name for y in model.outputs for name in y.get_names())

    # A request holds the tensors of one call.
    lock = threading.Lock()

    def run(x: Sequence[np.ndarray]) -> list[Any]:
        with lock:
            found = request.infer({f"x{i}": a for i, a in enumerate(x)})
            return [found[name].copy() for name in outputs]

    return run


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ImportError("needs OpenVINO: pip install openvino") from error
    return openvino


FORM = Form("OpenVINO", 32, _make, _open, any_batch=False)
