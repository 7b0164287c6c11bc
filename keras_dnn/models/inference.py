"""The fastest way to run a trained model on this machine."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_dnn import _arguments
from keras_dnn._keras.graph import graph_of
from keras_dnn._keras.layers import is_stateful, sublayers
from keras_dnn._keras.prediction import has_own
from keras_dnn._progress import Progress, Verbose
from keras_dnn._tensorflow import require_tensorflow
from keras_dnn._unchanged import unchanged_by_calls
from keras_dnn.models._measuring.benchmark import Benchmark
from keras_dnn.models._measuring.reference import Reference, inputs_of_calls
from keras_dnn.models._runtimes.runtime import Runtime
from keras_dnn.models._runtimes.signature import (
    Signature,
    input_signature,
    packed,
    positions,
)
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models._runtimes.stripped import stripped
from keras_dnn.models.inference_result import InferenceResult
from keras_dnn.models.runtimes import REGISTRY


def optimize_for_inference(
    model: keras.Model,
    data: Any,
    tolerance: float = 1e-4,
    candidates: Sequence[str] | None = None,
    *,
    labels: ArrayLike | None = None,
    max_accuracy_loss: float | None = None,
    batch_size: int = 1,
    rounds: int = 10,
    threads: int | None = None,
    verbose: Verbose = "auto",
) -> InferenceResult:
    """Turns a trained model into the fastest function with the same outputs.

    Layers that do nothing at inference, dropout above all, are removed and batch norms
    are folded. Then the model is built for each runtime of `registered_runtimes()`:
    TensorFlow's graphs, TFLite with 32, 16 and 8 bits, ONNX Runtime, OpenVINO and those
    that you have registered. They are measured on your data and with your batch size,
    one at a time, each in turns with the fastest one before it.

    A candidate that this model or machine does not have is listed with the reason, and
    so is one whose outputs are not finite. The result calls the fastest of those within
    the tolerance. The model is unchanged.

    Args:
        model: any Keras model whose rows do not depend on one another. The batch norms
            of a subclassed model are not folded.
        data: inputs like those to come: an array, or a list or dict of arrays, as
            `model.predict` takes them, of numbers or strings. Outputs are compared on
            all rows; some hundreds are enough. They must be typical, since 8-bit
            candidates take the ranges of their numbers from up to 128 of them.
        tolerance: the largest difference allowed between outputs, as a fraction of the
            standard deviation of the model's outputs. 1e-4 allows for rounding in
            float32; weights of 16 bits need about 1e-2, bfloat16 and 8 bits 0.1 and
            more.
        candidates: names of the runtimes to try; `None` for all that are registered.
        labels: true classes of `data`, integers or one-hot rows, for the accuracy of
            each candidate; for a model with one output.
        max_accuracy_loss: with `labels`, how far the accuracy may fall below the
            model's, as a fraction of all rows. It replaces `tolerance`.
        batch_size: rows in a timed call. Other numbers of rows can be predicted later,
            but some candidates are built for this one.
        rounds: turns that each candidate has. A turn is a pause, some warm-up calls and
            then timed calls for 0.05 s, at least one; the median of the turns' medians
            counts.
        threads: for runtimes that take a number of threads; `None` for the number of
            processors that this process may use.
        verbose: 0 shows nothing, 1 a progress bar, `"auto"` a bar when it takes long.

    Returns:
        A result to call, print, plot and save.

    Raises:
        ValueError: if a candidate is not registered, the model does not take the data
            or there are fewer than `batch_size` rows, the labels do not fit, or another
            argument is out of range; if the model keeps a state between calls, is
            random, gives numbers that are not finite, takes another number of rows than
            `batch_size` only, or if what it predicts is not what a call of it gives.
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
        >>> result.candidates[-1].largest_difference < 1e-4
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
    runtimes = _chosen(candidates)

    def within(difference: float, loss: float) -> bool:
        if max_accuracy_loss is None:
            return difference <= tolerance
        return loss <= max_accuracy_loss + ROUNDING

    progress = Progress(verbose)
    total = len(runtimes) + 1
    with tempfile.TemporaryDirectory() as folder, unchanged_by_calls(model):
        signature, arrays = _inputs(model, inputs_of_calls(model, data), batch_size)
        reference = Reference(model, signature, arrays)
        structure = positions(reference.structure)
        signature = dataclasses.replace(signature, output_structure=structure)
        benchmark = Benchmark(
            reference, signature, arrays, labels, batch_size, rounds, within
        )
        prepared, preparation = stripped(model)
        if has_own(model, "predict"):
            preparation += " Inputs are those that its predict hands to Keras."
        source = RuntimeSource(
            model, prepared, signature, arrays, batch_size, Path(folder)
        )
        progress.after(None, total)
        for name, runtime in runtimes.items():
            benchmark.try_runtime(name, runtime, source, threads)
            progress.after(None, total)
        best = benchmark.best
        if best is not None:
            # The folder is deleted; the files belong to the result.
            best.files = dict(best.files)

    return InferenceResult(
        fastest=best.name if best else None,
        candidates=tuple(benchmark.candidates.values()),
        tolerance=tolerance,
        max_accuracy_loss=max_accuracy_loss,
        batch_size=batch_size,
        rows=len(arrays[0]),
        threads=threads,
        preparation=preparation,
        predictor=best,
    )


ROUNDING = 1e-12
"""Rounding error of a difference between two accuracies."""


def _chosen(candidates: Sequence[str] | None) -> dict[str, Runtime]:
    if candidates is None:
        return dict(REGISTRY)
    names = _arguments.several("candidates", candidates)
    unknown = [name for name in names if name not in REGISTRY]
    if unknown or not names:
        raise ValueError(
            f"candidates must be some of {list(REGISTRY)}. "
            f"Received: candidates={candidates!r}"
        )
    return {name: REGISTRY[name] for name in names}


def _inputs(
    model: keras.Model, data: Any, batch_size: int
) -> tuple[Signature, list[np.ndarray]]:
    if any(is_stateful(layer) for layer in sublayers(model)):
        raise ValueError(
            "model must not keep a state between calls, as a recurrent layer with "
            f"stateful=True does. Received: model={model.name!r}"
        )
    signature, arrays = input_signature(model, data)
    lengths = [len(a) for a in arrays]
    if not lengths or lengths[0] < batch_size:
        raise ValueError(
            "data must hold arrays of one length, of at least batch_size rows. "
            f"Received: arrays of lengths {lengths} and batch_size={batch_size}"
        )
    rows = _only_number_of_rows(model, signature, arrays)
    if rows is not None and rows != batch_size:
        raise ValueError(
            f"batch_size must be {rows}, the only number of rows that the model takes. "
            f"Received: batch_size={batch_size} and model={model.name!r}"
        )
    return dataclasses.replace(signature, rows=rows), arrays


def _only_number_of_rows(
    model: keras.Model, signature: Signature, arrays: list[np.ndarray]
) -> int | None:
    """The number of rows that the model takes, if it takes no other."""
    graph = graph_of(model)
    frozen = {x.shape[0] for x in graph.inputs} - {None} if graph else set()
    if not frozen:
        return None
    rows = int(max(frozen))
    # Keras gives a Sequential that is built by `fit` the shape of a batch, and then
    # does not insist on it.
    try:
        for other in (rows + 1, rows + 2):
            x = [np.resize(a, (other, *a.shape[1:])) for a in arrays]
            outputs = model(packed(signature.input_structure, x), training=False)
            if any(y.shape[0] != other for y in keras.tree.flatten(outputs)):
                return rows
    except Exception:
        return rows
    return None


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
