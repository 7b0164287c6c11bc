"""The fastest form of a trained model on this machine."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._keras.graph import graph_of
from keras_dnn._keras.layers import sublayers
from keras_dnn._progress import Progress, Verbose
from keras_dnn._tensorflow import require_tensorflow
from keras_dnn.models._runtimes.measuring import PIECE, Ladder
from keras_dnn.models._runtimes.registry import FORMS
from keras_dnn.models._runtimes.runtime import Form
from keras_dnn.models._runtimes.signature import Ports, filled, input_ports, places
from keras_dnn.models._runtimes.source import Network
from keras_dnn.models._runtimes.stripped import lean_model
from keras_dnn.models._sampling.switched_on import is_stateful
from keras_dnn.models.inference_result import InferenceResult


def optimize_for_inference(
    model: keras.Model,
    data: Any,
    tolerance: float = 1e-4,
    candidates: Sequence[str] | None = None,
    *,
    labels: Any = None,
    max_accuracy_loss: float | None = None,
    batch_size: int = 1,
    rounds: int = 10,
    threads: int | None = None,
    verbose: Verbose = "auto",
) -> InferenceResult:
    """Turns a trained model into the fastest function that says the same.

    What does nothing at inference, dropout above all, is taken out and batch norms are
    folded. Then the forms that the model can take on this machine are made and measured
    side by side, on your data and with your batch size:

    - `"tf.function"`: the model as it is, compiled; `"folded tf.function"`: without
      batch norms; `"frozen graph"`: with its weights as constants.
    - `"TFLite float32"`, `"TFLite float16"` (weights of half the size, computed with as
      32 bits) and `"TFLite int8"` (weights and activations, with ranges from up to 128
      rows of `data`). They run in LiteRT where `ai-edge-litert` is installed, else in
      TensorFlow's own interpreter.
    - `"ONNX Runtime"`, `"OpenVINO"` and, on processors with instructions for it,
      `"OpenVINO bfloat16"` (weights and activations), where they are installed.

    A form that this model or machine does not have is listed with the reason. The
    fastest of those within the tolerance is what the result calls. The model is
    untouched.

    Args:
        model: any Keras model whose rows do not depend on one another; of a subclassed
            one batch norms are not folded.
        data: inputs like those to come: an array, or a list or dict of arrays, as the
            model takes them. Outputs are compared on all rows, of which some hundreds
            are enough; the 8-bit form needs them to be typical.
        tolerance: the largest difference allowed between outputs, as a share of the
            standard deviation of the model's outputs. 1e-4 allows for rounding in
            float32; weights of 16 bits need about 1e-2, bfloat16 and 8 bits 0.1 and
            more.
        candidates: names of the forms to try; `None` for all.
        labels: true classes of `data`, integers or one-hot rows, for the accuracy of
            each form; for a model with one output.
        max_accuracy_loss: with `labels`, how far the accuracy may fall below the
            model's, as a share of all rows. It counts instead of `tolerance`.
        batch_size: rows in a timed call. Other numbers of rows can be predicted later,
            but this is what the forms are made for.
        rounds: turns that each form has. It is timed for 0.05 s in each, for one call
            at least, after a pause and calls that are not timed; the median of the
            turns' medians counts.
        threads: for LiteRT, ONNX Runtime and OpenVINO; `None` for the number of
            processors that this process may use.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        A result to call, print, plot and save.

    Raises:
        ValueError: if a candidate is not known, the data is not such as the model takes
            or has less than `batch_size` rows, the labels do not fit, the model keeps a
            state from call to call or takes one number of rows only, or another
            argument is not as said above.
        RuntimeError: if Keras does not run on TensorFlow.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.models import optimize_for_inference
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((4,)),
        ...         keras.layers.Dense(8, activation="relu"),
        ...         keras.layers.Dropout(0.5),
        ...         keras.layers.Dense(3, activation="softmax"),
        ...     ]
        ... )
        >>> x = np.random.default_rng(1).normal(size=(50, 4)).astype("float32")
        >>> result = optimize_for_inference(
        ...     model, x, candidates=["TFLite float32"], rounds=3, verbose=0
        ... )
        >>> result(x[:10]).shape
        (10, 3)
        >>> result.rungs[-1].largest_difference < 1e-4
        True
    """
    require_tensorflow("keras_dnn.models.optimize_for_inference")
    tolerance = _arguments.number("tolerance", tolerance)
    batch_size = _arguments.count("batch_size", batch_size)
    rounds = _arguments.count("rounds", rounds)
    threads = _processors() if threads is None else threads
    threads = _arguments.count("threads", threads)
    if max_accuracy_loss is not None:
        max_accuracy_loss = _arguments.number("max_accuracy_loss", max_accuracy_loss)
        if labels is None:
            raise ValueError(
                "max_accuracy_loss needs labels to measure with. Received: labels=None"
            )
    forms = _chosen(candidates)
    ports, arrays = _inputs(model, data, batch_size)
    expected = model.predict(
        filled(ports.input_structure, arrays), batch_size=PIECE, verbose=0
    )
    ports = dataclasses.replace(ports, output_structure=places(expected))
    ladder = Ladder(
        model, ports, arrays, keras.tree.flatten(expected), labels, batch_size
    )

    progress = Progress(verbose)
    lean, preparation = lean_model(model)
    with tempfile.TemporaryDirectory() as folder:
        network = Network(model, lean, ports, arrays, batch_size, Path(folder))
        for form in forms:
            ladder.try_form(form, network, threads)
            progress.after(None, len(forms) + rounds)

    def within(difference: float, loss: float) -> bool:
        if max_accuracy_loss is None:
            return difference <= tolerance
        return loss <= max_accuracy_loss + ROUNDING

    rungs = ladder.rungs(rounds, progress, within)
    usable = [rung for rung in rungs if rung.within and rung.name in ladder.predictors]
    best = min(usable, key=lambda rung: rung.seconds, default=None)
    return InferenceResult(
        fastest=best.name if best else None,
        rungs=rungs,
        tolerance=tolerance,
        max_accuracy_loss=max_accuracy_loss,
        batch_size=batch_size,
        rows=len(arrays[0]),
        threads=threads,
        preparation=preparation,
        predictor=ladder.predictors[best.name] if best else None,
    )


ROUNDING = 1e-12
"""Of a difference between two accuracies."""


def _chosen(candidates: Sequence[str] | None) -> list[Form]:
    if candidates is None:
        return list(FORMS.values())
    names = _arguments.several("candidates", candidates)
    unknown = [name for name in names if name not in FORMS]
    if unknown or not names:
        raise ValueError(
            f"candidates must be some of {list(FORMS)}. "
            f"Received: candidates={candidates!r}"
        )
    return [FORMS[name] for name in dict.fromkeys(names)]


def _inputs(
    model: keras.Model, data: Any, batch_size: int
) -> tuple[Ports, list[np.ndarray]]:
    leaves = [np.asarray(leaf) for leaf in keras.tree.flatten(data)]
    if not leaves or any(a.ndim == 0 or a.dtype == object for a in leaves):
        raise ValueError(
            "data must be an array, or a list or dict of arrays. "
            f"Received: data={data!r}"
        )
    if any(is_stateful(layer) for layer in sublayers(model)):
        raise ValueError(
            "model must not keep a state from call to call, as a recurrent layer with "
            f"stateful=True does. Received: model={model.name!r}"
        )
    graph = graph_of(model)
    if graph and any(x.shape[0] is not None for x in graph.inputs):
        raise ValueError(
            "model must take any number of rows. Received: a model with inputs of "
            f"shapes {[x.shape for x in graph.inputs]}"
        )
    ports, arrays = input_ports(model, data)
    lengths = [len(a) for a in arrays]
    if len(set(lengths)) > 1 or lengths[0] < batch_size:
        raise ValueError(
            "data must hold arrays of one length, of at least batch_size rows. "
            f"Received: arrays of lengths {lengths} and batch_size={batch_size}"
        )
    return ports, arrays


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
