"""ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dnn.models._runtimes.export import to_onnx
from keras_dnn.models._runtimes.runtime import Files, Form, Run, numbered
from keras_dnn.models._runtimes.source import Network

FILE = "model.onnx"


def _make(network: Network) -> Files:
    _runtime()
    function = network.function(network.lean)
    return {FILE: to_onnx(function, network.signature(None))}


def _open(files: Files, threads: int) -> Run:
    onnxruntime = _runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Its threads wait for the next call at full speed, for tens of milliseconds; so
    # they do only within one. A call on MobileNetV2 takes as long.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        files[FILE], options, providers=onnxruntime.get_available_providers()
    )
    outputs = numbered(output.name for output in session.get_outputs())

    def run(x: Sequence[np.ndarray]) -> Sequence[Any]:
        found: Sequence[Any] = session.run(
            outputs, {f"x{i}": a for i, a in enumerate(x)}
        )
        return found

    return run


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "needs ONNX Runtime: pip install 'keras_dnn[export]'"
        ) from error
    return onnxruntime


FORM = Form("ONNX Runtime", 32, _make, _open, any_batch=True)
