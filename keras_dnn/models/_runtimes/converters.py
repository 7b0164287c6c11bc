"""Converters that start from a SavedModel, for large models in a separate process.

They hold a model ten times and more, which a process does not give back. As a script:
`python -m keras_dnn.models._runtimes.converters KIND SAVED_MODEL TARGET`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_dnn import _files
from keras_dnn._keras.frozen_graph import with_constants
from keras_dnn._tensorflow import tf
from keras_dnn.models._runtimes.export import to_onnx

LARGE = 2**25
"""Bytes of a SavedModel from which on it is converted in a separate process.

That takes some seconds, in which TensorFlow is imported.
"""


def convert(kind: str, saved: Path, target: Path) -> None:
    """Writes what a SavedModel becomes.

    Args:
        kind: `"frozen"` for a SavedModel whose weights are constants, or `"onnx"`.
        saved: the SavedModel.
        target: the folder or file to write.
    """
    size = sum((saved / name).stat().st_size for name in _files.files_of(saved))
    if size < LARGE:
        KINDS[kind](saved, target)
    else:
        module = "keras_dnn.models._runtimes.converters"
        separately(["-m", module, kind, saved, target])


def frozen(saved: Path, target: Path) -> None:
    """Writes a SavedModel with its weights as constants."""
    function = _served(saved)
    pruned = with_constants(function)

    def serve(*x: Any) -> dict[str, Any]:
        outputs = pruned(*x)
        # In the order of the sorted names, in which y10 comes before y2.
        names = sorted(f"y{i}" for i in range(len(outputs)))
        return dict(zip(names, outputs, strict=True))

    # A frozen function called on its own is not optimised as one inside another is: on
    # a small network it took 13 ms instead of 1.
    module = tf.Module()
    module.serve = tf.function(serve, input_signature=function.input_signature)
    # Nobody takes a gradient here, and those of quantised layers cannot be saved.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    signatures = {"serve": module.serve}
    tf.saved_model.save(module, str(target), signatures, options)


def onnx(saved: Path, target: Path) -> None:
    """Writes an ONNX file."""
    function = _served(saved)
    _files.write(target, to_onnx(function, function.input_signature))


KINDS = {"frozen": frozen, "onnx": onnx}


def _served(saved: Path) -> Any:
    """The function that a SavedModel holds, of inputs by position."""
    loaded = tf.saved_model.load(str(saved))
    signature = loaded.signatures["serve"]
    specs = signature.structured_input_signature[1]
    names = sorted(specs, key=lambda name: int(name[1:]))

    # `loaded` owns the variables.
    def serve(*x: Any, owner: Any = loaded) -> dict[str, Any]:
        outputs: dict[str, Any] = signature(**dict(zip(names, x, strict=True)))
        return outputs

    return tf.function(serve, input_signature=[specs[name] for name in names])


def separately(arguments: Sequence[str | Path]) -> None:
    """Runs Python with these arguments, without a GPU.

    Raises:
        RuntimeError: if it fails, with the line that names the error.
    """
    paths = os.pathsep.join(path or "." for path in sys.path)
    # `-P`: the folder of a script must not be searched for modules.
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise RuntimeError(f"TensorFlow's converter crashed ({name})")
    if done.returncode:
        raise RuntimeError(_error(done.stderr))


def _error(printed: str) -> str:
    """The line that names the error, among all that a process printed."""
    lines = printed.strip().splitlines() or ["no reason given"]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines)[-1]


if __name__ == "__main__":
    KINDS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
