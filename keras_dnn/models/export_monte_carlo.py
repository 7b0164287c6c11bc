"""Monte Carlo dropout outside Python: an exported model that computes the measures.

A SavedModel draws its masks where it runs. TFLite and ONNX have no suitable random
numbers, so their models hold a bank of masks: one for each sample, the same for all
inputs, stratified over the samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_dnn import _arguments, _files
from keras_dnn._batches import as_tensors
from keras_dnn._keras.graph import (
    flat_inputs,
    functional_inside,
    graph_of,
    output_layers,
)
from keras_dnn._keras.prediction import has_own
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn.models._runtimes.export import to_onnx, to_tflite, write_saved_model
from keras_dnn.models._sampling.cut import Cut
from keras_dnn.models._sampling.mask_bank import MaskBank
from keras_dnn.models._sampling.measures import (
    CLASSES,
    MEASURES,
    NUMBERS,
    ONE_OF_TWO,
    Kind,
    Task,
    measures_of,
    moments_of,
)
from keras_dnn.models._sampling.random_stream import INDEPENDENT, Seed, Stream
from keras_dnn.models._sampling.sampler import ROWS, Request, Sampler
from keras_dnn.models._sampling.switched_on import only, random_layers

ANY_LENGTH = 64
"""Of an axis whose length the model leaves open, while its layers are tried."""

PREDICTING = ("predict", "predict_step")
"""Methods of a model that an exported one does not have."""

ExportedFunction: TypeAlias = Callable[..., dict[str, np.ndarray]]
"""Takes inputs as `predict` does and gives the measures by name."""


def export_monte_carlo(
    model: keras.Model,
    path: str | Path,
    samples: int = 100,
    *,
    seed: int | None = None,
    layers: Sequence[str | keras.layers.Layer] | None = None,
) -> ExportedFunction:
    """Writes a model that predicts with uncertainty, without Python or Keras.

    Its outputs are named: `mean`, `std` and, for classes, `entropy`,
    `expected_entropy`, `mutual_information` and `variation_ratio`, as `mc_predict` has
    them. The suffix of `path` decides what is written:

    - `.tflite` or `.onnx`: one file that holds `samples` stratified masks, which are
      the same for all inputs. It is deterministic.
    - anything else: a folder with a TensorFlow SavedModel that draws its own masks: new
      ones in each call, or with a `seed` those of `mc_predict` with that seed.

    What was at `path` before stays as it was until the new model is complete.

    Args:
        model: a functional or Sequential model with dropout and one output.
        path: where to write.
        samples: how many samples to compute the measures from.
        seed: integer of at least 0 for the same masks each time.
        layers: names or layers to sample from; `None` for all that have dropout.

    Returns:
        A function that takes inputs and returns a dict of the measures that the written
        model gives, computed here by the same graph.

    Raises:
        ValueError: if the model has no graph, no dropout, several outputs, an output
            of open length, ragged inputs, or a `predict` or `predict_step` of its own,
            or if its masks would depend on the shape of the inputs.
        ImportError: if the path ends in `.onnx` and tf2onnx is not installed.
        RuntimeError: if Keras does not run on TensorFlow.

    Example:
        >>> import keras, numpy as np
        >>> from keras_dnn.models import export_monte_carlo
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((4,)),
        ...         keras.layers.Dropout(0.5),
        ...         keras.layers.Dense(3, activation="softmax"),
        ...     ]
        ... )
        >>> predict = export_monte_carlo(model, "mc.tflite", samples=50, seed=1)
        >>> sorted(predict(np.ones((2, 4), "float32")))[:3]
        ['entropy', 'expected_entropy', 'mean']
    """
    require_tensorflow("keras_dnn.models.export_monte_carlo")
    samples = _arguments.count("samples", samples)
    seed = None if seed is None else _arguments.count("seed", seed, least=0)
    on = random_layers(model, layers)
    if graph_of(model) is None or any(map(partial(has_own, model), PREDICTING)):
        raise ValueError(
            "model must be functional or Sequential, and predict as Keras does: the "
            f"file computes nothing else. Give {functional_inside(model)}. "
            f"Received: model={model.name!r} of class {type(model).__name__}"
        )
    sampler = Sampler(model, on)
    if len(model.outputs) != 1:
        raise ValueError(
            "model must have one output. Give keras.Model(model.inputs, "
            "model.outputs[0]) for the first. "
            f"Received: model={model.name!r} with {len(model.outputs)} outputs"
        )
    if any(getattr(x, "ragged", False) for x in model.inputs):
        raise ValueError(
            "model must take dense inputs, as a file does: pad rows to one length. "
            f"Received: model={model.name!r} with ragged inputs"
        )
    if None in model.outputs[0].shape[1:]:
        raise ValueError(
            "model must have an output of one shape for each input. Received: "
            f"model={model.name!r} with an output of shape {model.outputs[0].shape}"
        )
    write, make = WRITERS.get(Path(path).suffix, (_write_saved_model, _drawing))
    function = make(sampler, Task(samples, seed, INDEPENDENT))
    write(sampler, function, str(path))

    def predict(x: Any) -> dict[str, np.ndarray]:
        x = as_tensors(x)
        sampler.split.check_rows(x)
        inputs = [_dense(tensor) for tensor in flat_inputs(model, x)]
        return {name: value.numpy() for name, value in function(*inputs).items()}

    return predict


def _dense(tensor: Tensor) -> Tensor:
    """The tensor as a file takes it."""
    if isinstance(tensor, tf.SparseTensor):
        return tf.sparse.to_dense(tf.sparse.reorder(tensor))
    if isinstance(tensor, tf.RaggedTensor):
        return tensor.to_tensor()
    return tf.convert_to_tensor(tensor)


# What is written ---------------------------------------------------------------------


def _signature(sampler: Sampler) -> list[tf.TensorSpec]:
    """The model's inputs, with any number of rows if it can take that."""
    fixed = sampler.split.fixed_rows or sampler.split.rows_of_states
    inputs = sampler.model.inputs
    shapes = [x.shape if fixed else (None, *x.shape[1:]) for x in inputs]
    return [
        tf.TensorSpec(shape, x.dtype, name=x.name.replace("/", "_"))
        for x, shape in zip(inputs, shapes, strict=True)
    ]


def _traced(
    sampler: Sampler, stream: Stream | None, compute: Callable[..., Any]
) -> Any:
    """The function of the model's inputs, traced while only `sampler.on` are random."""
    function = tf.function(
        compute, input_signature=_signature(sampler), autograph=False
    )
    with only(sampler.on, sampler.model, stream):
        function.get_concrete_function()
    return function


def _drawing(sampler: Sampler, task: Task) -> Any:
    """A function that draws its own masks, as `mc_predict` does."""
    seed = Seed.of(task.seed, task.samples, task.masks)
    names = _names(_kind(sampler.model))
    shapes = [
        [x.shape[0] or 1, *(n or ANY_LENGTH for n in x.shape[1:])]
        for x in sampler.model.inputs
    ]
    types = [x.dtype for x in sampler.model.inputs]
    x = _structured(sampler, list(map(tf.zeros, shapes, types)))
    cut = sampler.cut(x)
    plan = sampler.plan(x, cut, task)
    if not (plan.divisible or sampler.split.fixed_rows):
        raise ValueError(
            "model must drop units of any number of inputs, without a noise_shape that "
            f"names their number. Received: model={sampler.model.name!r}"
        )
    sample = sampler.sampling(x, _cut_of_any_shape(sampler), plan, task)

    def compute(*inputs: Tensor) -> dict[str, Tensor]:
        rows = tf.shape(inputs[0])[0]
        at_once = tf.clip_by_value(ROWS // tf.maximum(rows, 1), 1, task.samples)
        request = Request(
            sampler.split.run_before(_structured(sampler, inputs)),
            rows,
            first_row=tf.constant(0, tf.int64),
            samples=tf.constant(task.samples),
            at_once=tf.constant(1) if plan.one_by_one else at_once,
            seed=seed if task.seed is not None else Seed(_fresh_key(), seed.strata),
        )
        (found,) = sample(request)
        return {name: tf.cast(found[name], tf.float32) for name in names}

    return _traced(sampler, None, compute)


def _cut_of_any_shape(sampler: Sampler) -> Cut:
    """What the random part takes, with axes of any length where inputs have these."""
    with only(sampler.on, sampler.model):
        function = tf.function(
            lambda *inputs: sampler.split.run_before(_structured(sampler, inputs)),
            input_signature=_signature(sampler),
            autograph=False,
        )
        cut: Cut = function.get_concrete_function().structured_outputs
    return cut


def _fresh_key() -> Tensor:
    # Two seeds of 0 mean none, even if a seed was set in the process that exports.
    drawn = tf.raw_ops.RandomUniformInt(
        shape=tf.constant([], tf.int32),
        minval=tf.constant(tf.int64.min, tf.int64),
        maxval=tf.constant(tf.int64.max, tf.int64),
        seed=0,
        seed2=0,
    )
    return tf.bitcast(drawn, tf.uint64)


def _banked(sampler: Sampler, task: Task) -> Any:
    """A function that holds its masks, in operations that other runtimes have."""
    kind, samples = _kind(sampler.model), task.samples

    def compute(*inputs: Tensor) -> dict[str, Tensor]:
        x = _structured(sampler, inputs)
        rows = tf.shape(inputs[0])[0]
        cut = sampler.split.run_before(x).repeated(rows, samples)
        (y,) = sampler.split.run_after(cut, x)
        y = tf.reshape(y, [-1, samples, *y.shape[1:]])
        return measures_of(moments_of(tf.cast(y, tf.float32), kind), kind)

    return _traced(sampler, MaskBank(samples, task.seed), compute)


def _names(kind: Kind) -> tuple[str, ...]:
    return ("mean", "std") if kind == NUMBERS else MEASURES


def _kind(model: keras.Model) -> Kind:
    """What the output holds, by the layer that it comes from."""
    (end,) = output_layers(model)
    activation = getattr(end, "activation", None)
    if isinstance(end, keras.layers.Softmax) or activation is keras.activations.softmax:
        return CLASSES
    if activation is keras.activations.sigmoid and model.outputs[0].shape[-1] == 1:
        return ONE_OF_TWO
    return NUMBERS


def _structured(sampler: Sampler, inputs: Sequence[Tensor]) -> Any:
    assert sampler.split.graph is not None
    structure = sampler.split.graph.input_structure
    return keras.tree.pack_sequence_as(structure, list(inputs))


# How it is written -------------------------------------------------------------------


def _write_saved_model(sampler: Sampler, function: Any, path: str) -> None:
    with _files.writing_folder(path) as folder:
        write_saved_model(sampler.model, function, folder)


def _write_tflite(sampler: Sampler, function: Any, path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(sampler.model, function, folder)
        _files.write(path, to_tflite(folder))


def _write_onnx(sampler: Sampler, function: Any, path: str) -> None:
    _files.write(path, to_onnx(function, _signature(sampler)))


WRITERS = {".tflite": (_write_tflite, _banked), ".onnx": (_write_onnx, _banked)}
