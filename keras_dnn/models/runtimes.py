"""The runtimes that `optimize_for_inference` measures, and how to add one."""

from __future__ import annotations

from keras_dnn.models._runtimes import onnx_runtime, openvino, saved_model, tflite
from keras_dnn.models._runtimes.runtime import Runtime

REFERENCES = PREDICT, CALL = ("model.predict", "model(x)")
"""The Keras model, with which every runtime is compared."""

REGISTRY: dict[str, Runtime] = {
    "tf.function": saved_model.TensorFlowFunction(),
    "folded tf.function": saved_model.FoldedFunction(),
    "frozen graph": saved_model.FrozenGraph(),
    "TFLite float32": tflite.Float32(),
    "TFLite float16": tflite.Float16(),
    "TFLite int8": tflite.Int8(),
    "ONNX Runtime": onnx_runtime.ONNXRuntime(),
    "OpenVINO": openvino.OpenVINO(),
    "OpenVINO bfloat16": openvino.OpenVINOBfloat16(),
}


def register_runtime(name: str, runtime: Runtime) -> None:
    """Adds a runtime to those that `optimize_for_inference` measures.

    They are built in the order in which they were added. A runtime of the same name is
    replaced. To load a saved or pickled result in another process, register the runtime
    there first.

    Args:
        name: of the runtime, for `candidates` and tables.
        runtime: an instance of a subclass of `Runtime`.

    Raises:
        ValueError: if the name is not a text or is that of a reference, or `runtime` is
            not an instance of `Runtime`.

    Example:
        >>> from keras_dnn.models import Runtime, register_runtime, unregister_runtime
        >>> class Mine(Runtime):
        ...     def build(self, source):
        ...         raise NotImplementedError("for no model yet")
        ...
        ...     def load(self, files, threads):
        ...         raise NotImplementedError
        >>> register_runtime("mine", Mine())
        >>> unregister_runtime("mine")
    """
    if not isinstance(name, str) or not name or name in REFERENCES:
        raise ValueError(
            f"name must be a text other than {' and '.join(map(repr, REFERENCES))}. "
            f"Received: name={name!r}"
        )
    if not isinstance(runtime, Runtime):
        raise ValueError(
            "runtime must be an instance of a subclass of Runtime. "
            f"Received: runtime={runtime!r}"
        )
    REGISTRY[name] = runtime


def unregister_runtime(name: str) -> None:
    """Removes a runtime from those that `optimize_for_inference` measures.

    Args:
        name: of the runtime.

    Raises:
        ValueError: if no runtime of this name is registered.

    Example:
        >>> from keras_dnn.models import (
        ...     register_runtime,
        ...     registered_runtimes,
        ...     unregister_runtime,
        ... )
        >>> last, runtime = registered_runtimes().popitem()
        >>> unregister_runtime(last)
        >>> last in registered_runtimes()
        False
        >>> register_runtime(last, runtime)
    """
    del REGISTRY[_known(name)]


def registered_runtimes() -> dict[str, Runtime]:
    """Gives the runtimes that `optimize_for_inference` measures, in their order.

    Returns:
        A dict of each `Runtime` by name, which may be changed freely.

    Example:
        >>> from keras_dnn.models import registered_runtimes
        >>> runtime = registered_runtimes()["TFLite float32"]
        >>> runtime.bits
        32
        >>> runtime.why_unavailable()
        ''
    """
    return dict(REGISTRY)


def runtime_of(name: str) -> Runtime:
    """The runtime of this name.

    Raises:
        ValueError: if none is registered.
    """
    return REGISTRY[_known(name)]


def _known(name: str) -> str:
    if name not in REGISTRY:
        raise ValueError(
            "name must be that of a registered runtime: "
            f"{', '.join(REGISTRY)}. Received: name={name!r}"
        )
    return name
