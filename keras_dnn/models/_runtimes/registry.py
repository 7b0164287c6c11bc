"""All forms, in the order of the ladder."""

from __future__ import annotations

from keras_dnn.models._runtimes import onnx_runtime, openvino, saved_model, tflite

FORMS = {
    form.name: form
    for form in (
        saved_model.AS_IT_IS,
        saved_model.FOLDED,
        saved_model.FROZEN,
        tflite.FLOAT32,
        tflite.FLOAT16,
        tflite.INT8,
        onnx_runtime.FORM,
        openvino.FLOAT32,
        openvino.BFLOAT16,
    )
}
