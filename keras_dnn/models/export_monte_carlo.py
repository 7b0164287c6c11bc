"""Monte-Carlo dropout outside of Python: statistics in the exported model.

A SavedModel draws its masks where it runs. TFLite and ONNX have no random numbers that
serve, so their models hold a bank of masks: one for each sample, the same for all
inputs, stratified over the samples.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_dnn import _arguments
from keras_dnn._keras.graph import flat_inputs, output_layers
from keras_dnn._tensorflow import require_tensorflow, tf
from keras_dnn._typing import Tensor
from keras_dnn.layers._noise import LEVELS
from keras_dnn.models._runtimes.export import to_onnx, to_tflite, write_saved_model
from keras_dnn.models._sampling.moments import (
    CLASSES,
    NUMBERS,
    ONE_OF_TWO,
    probabilities,
)
from keras_dnn.models._sampling.random_stream import (
    COHERENT,
    INDEPENDENT,
    Chunk,
    Stream,
)
from keras_dnn.models._sampling.sampler import ROWS, Draws, Sampler, Task, tiled
from keras_dnn.models._sampling.switched_on import only, random_layers

CLASS_MEASURES = (
    "mean",
    "std",
    "entropy",
    "expected_entropy",
    "mutual_information",
    "variation_ratio",
)

Predictor = Callable[..., dict[str, np.ndarray]]


def export_monte_carlo(
    model: keras.Model,
    path: str | Path,
    samples: int = 100,
    *,
    seed: int | None = None,
    layers: Sequence[str | keras.layers.Layer] | None = None,
) -> Predictor:
    """Writes a predictor with uncertainty that runs without Python or Keras.

    Its outputs are named: `mean`, `std` and, for classes, `entropy`,
    `expected_entropy`, `mutual_information` and `variation_ratio`, as `mc_predict` has
    them. What the suffix of `path` says is written:

    - `.tflite` or `.onnx`: one file with a bank of `samples` stratified masks in it,
      which are the same for all inputs. It is deterministic.
    - anything else: a folder with a TensorFlow SavedModel that draws masks of its own:
      new ones in each call, or with a `seed` those of `mc_predict` with that seed.

    Args:
        model: a functional or Sequential model with dropout and one output.
        path: where to write.
        samples: how many samples the statistics are of.
        seed: integer of at least 0 for the same masks each time.
        layers: names or layers to sample from; `None` for all that have dropout.

    Returns:
        A function that takes inputs and gives a dict of what the written model gives,
        computed here by the same graph.

    Raises:
        ValueError: if the model has no graph, no dropout or several outputs, or if
            masks of the bank would depend on the shape of the inputs.
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
    sampler = Sampler(model, random_layers(model, layers))
    if sampler.cut.graph is None or len(sampler.cut.graph.outputs) != 1:
        raise ValueError(
            "model must be functional or Sequential and have one output. "
            f"Received: model={model.name!r}"
        )
    write, make = WRITERS.get(Path(path).suffix, (write_saved_model, _drawing))
    function = make(sampler, Task(samples, seed, INDEPENDENT, False, ()))
    write(model, function, str(path))

    def predict(x: Any) -> dict[str, np.ndarray]:
        inputs = [tf.convert_to_tensor(t) for t in flat_inputs(model, x)]
        return {name: value.numpy() for name, value in function(*inputs).items()}

    return predict


# What is written ---------------------------------------------------------------------


def _signature(model: keras.Model) -> list[tf.TensorSpec]:
    return [
        tf.TensorSpec(x.shape, x.dtype, name=x.name.replace("/", "_"))
        for x in model.inputs
    ]


def _traced(
    sampler: Sampler, stream: Stream | None, compute: Callable[..., Any]
) -> Any:
    """The function of the model's inputs, traced while only `sampler.on` are random."""
    function = tf.function(compute, input_signature=_signature(sampler.model))
    with only(sampler.on, sampler.model, stream):
        function.get_concrete_function()
    return function


def _drawing(sampler: Sampler, task: Task) -> Any:
    """Draws its own masks, as `mc_predict` does."""
    kind, draws = _kind(sampler.model), Draws.of(task)
    shapes = [(1, *(n or 1 for n in x.shape[1:])) for x in sampler.model.inputs]
    types = [x.dtype for x in sampler.model.inputs]
    x = _structured(sampler, list(map(tf.zeros, shapes, types)))
    sample = sampler._random(x, sampler._deterministic(x), task)

    def compute(*inputs: Tensor) -> dict[str, Tensor]:
        rows = tf.shape(inputs[0])[0]
        key = draws.key if task.seed is not None else _fresh_key()
        (found,) = sample(
            sampler.cut.deterministic(_structured(sampler, inputs)),
            rows,
            tf.constant(0, tf.int64),
            tf.constant(task.samples),
            tf.clip_by_value(ROWS // tf.maximum(rows, 1), 1, task.samples),
            key,
            draws.strata,
        )
        names = CLASS_MEASURES if kind != NUMBERS else ("mean", "std")
        return {name: tf.cast(found[name], tf.float32) for name in names}

    return _traced(sampler, None, compute)


def _fresh_key() -> Tensor:
    # Seeds of 0 mean none, whatever seed was set in the process that exports.
    drawn = tf.raw_ops.RandomUniformInt(
        shape=tf.constant([], tf.int32),
        minval=tf.constant(tf.int64.min, tf.int64),
        maxval=tf.constant(tf.int64.max, tf.int64),
        seed=0,
        seed2=0,
    )
    return tf.bitcast(drawn, tf.uint64)


class Bank(Stream):
    """Gives out masks that are the same in each call and for each input."""

    def __init__(self, samples: int, seed: int | None) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.masks: list[np.ndarray] = []
        self.samples = samples
        self._chunk = Chunk(
            key=None,
            masks=COHERENT,
            samples=samples,
            first_sample=0,
            size=samples,
            first_row=0,
            rows=None,
            strata=None,
        )

    def factor(self, shape: Sequence[Any], rate: float, dtype: tf.DType) -> Tensor:
        """The factors of a mask, as constants."""
        threshold = round(rate * LEVELS) / LEVELS
        kept = (self._stratified_shares(shape) >= threshold) / (1 - threshold)
        return tf.constant(kept[np.newaxis, :, np.newaxis], dtype)

    def _shares(self, shape: list[Any]) -> Tensor:
        return self._for_all(self._stratified_shares(shape), shape)

    def normal(
        self,
        shape: Sequence[Any],
        mean: float = 0.0,
        stddev: float = 1.0,
        dtype: Any = None,
    ) -> Tensor:
        """Normal numbers, as constants."""
        with tf.init_scope():
            standard = tf.math.ndtri(self._stratified_shares(shape)).numpy()
        numbers = self._for_all(standard, shape)
        return tf.cast(mean + stddev * numbers, dtype or keras.config.floatx())

    def _for_all(self, numbers: np.ndarray, shape: Sequence[Any]) -> Tensor:
        times = [shape[0] // self.samples] + [1] * (len(shape) - 1)
        return tf.tile(tf.constant(numbers, tf.float32), times)

    def _stratified_shares(self, shape: Sequence[Any]) -> np.ndarray:
        """Uniform numbers for each sample and unit, one in each stratum of a unit."""
        inner = tuple(shape[1:])
        if not all(isinstance(n, int) for n in inner):
            raise ValueError(
                "model must take inputs of one shape, since the masks of a bank are "
                f"constants. Received: a layer with dropout on rows of shape {inner}"
            )
        units = math.prod(inner)
        strata = np.tile(np.arange(self.samples), (units, 1))
        shares = self.rng.permuted(strata, axis=1) + self.rng.random((units, 1))
        return (shares / self.samples).T.reshape(self.samples, *inner)


def _banked(sampler: Sampler, task: Task) -> Any:
    """Uses a bank of masks, in operations that other runtimes have."""
    kind, samples = _kind(sampler.model), task.samples

    def compute(*inputs: Tensor) -> dict[str, Tensor]:
        x = _structured(sampler, inputs)
        rows = tf.shape(inputs[0])[0]
        frontier = [tiled(t, rows, samples) for t in sampler.cut.deterministic(x)]
        (y,) = sampler.cut.random(frontier, x)
        y = tf.reshape(y, [-1, samples, *y.shape[1:]])
        return _measures(tf.cast(y, tf.float32), kind)

    return _traced(sampler, Bank(samples, task.seed), compute)


def _measures(y: Tensor, kind: str) -> dict[str, Tensor]:
    mean = tf.reduce_mean(y, 1)
    spread = tf.reduce_mean(tf.square(y - mean[:, tf.newaxis]), 1)
    found = {"mean": mean, "std": tf.sqrt(spread)}
    if kind == NUMBERS:
        return found
    p, mean_p = probabilities(y, kind), probabilities(mean, kind)
    expected = tf.reduce_mean(_entropy(p), 1)
    winners = tf.one_hot(tf.argmax(p, -1), p.shape[-1], dtype=tf.float32)
    votes = tf.reduce_mean(winners, 1)
    return {
        **found,
        "entropy": _entropy(mean_p),
        "expected_entropy": expected,
        "mutual_information": tf.maximum(_entropy(mean_p) - expected, 0.0),
        "variation_ratio": 1.0 - tf.reduce_max(votes, -1),
    }


def _entropy(p: Tensor) -> Tensor:
    # TFLite has no `xlogy`.
    return -tf.reduce_sum(p * tf.math.log(tf.maximum(p, TINY)), -1)


TINY = 1e-30


def _kind(model: keras.Model) -> str:
    """What the output holds, judged by the layer that it comes from."""
    (end,) = output_layers(model)
    activation = getattr(end, "activation", None)
    if isinstance(end, keras.layers.Softmax) or activation is keras.activations.softmax:
        return CLASSES
    if activation is keras.activations.sigmoid and model.outputs[0].shape[-1] == 1:
        return ONE_OF_TWO
    return NUMBERS


def _structured(sampler: Sampler, inputs: Sequence[Tensor]) -> Any:
    assert sampler.cut.graph is not None
    return keras.tree.pack_sequence_as(sampler.cut.graph.input_structure, list(inputs))


# How it is written -------------------------------------------------------------------


def _write_tflite(model: keras.Model, function: Any, path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, function, folder)
        Path(path).write_bytes(to_tflite(folder))


def _write_onnx(model: keras.Model, function: Any, path: str) -> None:
    Path(path).write_bytes(to_onnx(function, _signature(model)))


WRITERS = {".tflite": (_write_tflite, _banked), ".onnx": (_write_onnx, _banked)}
