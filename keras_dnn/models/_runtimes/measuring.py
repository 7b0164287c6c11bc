"""The measurement of all forms of a model, side by side."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_dnn._progress import Progress
from keras_dnn.models._output_difference import largest, means, relative_differences
from keras_dnn.models._runtimes.accuracy import accuracy, classes
from keras_dnn.models._runtimes.predictor import Predictor
from keras_dnn.models._runtimes.runtime import Form
from keras_dnn.models._runtimes.signature import Ports, filled
from keras_dnn.models._runtimes.source import Network
from keras_dnn.models.inference_result import Rung

PIECE = 64
"""Rows that are compared at once."""

PREDICT, CALL = "model.predict", "model(x)"

NAN = float("nan")


class Ladder:
    """Measures the Keras model and each form of it.

    Args:
        model: the model as it is.
        ports: its inputs and outputs.
        arrays: rows to compare on.
        expected: the outputs of the model for them.
        labels: of the rows, or `None`.
        batch_size: rows in a timed call.
    """

    def __init__(
        self,
        model: keras.Model,
        ports: Ports,
        arrays: list[np.ndarray],
        expected: list[np.ndarray],
        labels: Any,
        batch_size: int,
    ) -> None:
        self.arrays = arrays
        self.expected = expected
        self.labels = None if labels is None else classes(labels, expected)
        self.x = filled(ports.input_structure, [a[:batch_size] for a in arrays])
        self.calls: dict[str, Callable[[], Any]] = {}
        self.found: dict[str, dict[str, Any]] = {}
        self.predictors: dict[str, Predictor] = {}

        bits = weight_bits(model)
        self._add(PREDICT, bits, None, expected)
        self.calls[PREDICT] = lambda: model.predict(
            self.x, batch_size=batch_size, verbose=0
        )

        def call(x: Any) -> Any:
            return keras.tree.map_structure(
                keras.ops.convert_to_numpy, model(x, training=False)
            )

        def flat_call(x: Sequence[np.ndarray]) -> list[Any]:
            return list(keras.tree.flatten(call(filled(ports.input_structure, x))))

        self._add(CALL, bits, None, self._answers(flat_call))
        self.calls[CALL] = lambda: call(self.x)

    def try_form(self, form: Form, network: Network, threads: int) -> None:
        """Makes a form and compares it, or notes why there is none."""
        bits = form.bits or weight_bits(network.model)
        try:
            # What converters warn of, the differences show.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                files = form.make(network)
                predictor = Predictor(
                    form.name, files, network.ports, network.batch_size, threads
                )
                outputs = self._answers(predictor.predict)
            size = sum(map(len, files.values()))
            self._add(form.name, bits, size, outputs)
        except Exception as error:
            self.found[form.name] = {
                "bits": bits,
                "largest_difference": NAN,
                "mean_difference": NAN,
                "accuracy": None,
                "bytes": None,
                "failure": reason(error),
            }
        else:
            self.predictors[form.name] = predictor
            self.calls[form.name] = lambda: predictor(self.x)

    def _answers(
        self, predict: Callable[[Sequence[np.ndarray]], Sequence[Any]]
    ) -> list[np.ndarray]:
        parts = [
            predict([a[start : start + PIECE] for a in self.arrays])
            for start in range(0, len(self.arrays[0]), PIECE)
        ]
        return [np.concatenate(y) for y in zip(*parts, strict=True)]

    def _add(
        self, name: str, bits: int, size: int | None, outputs: list[np.ndarray]
    ) -> None:
        differences = relative_differences(self.expected, outputs)
        self.found[name] = {
            "bits": bits,
            "largest_difference": largest(differences),
            "mean_difference": float(np.max(means(differences))),
            "accuracy": None if self.labels is None else accuracy(outputs, self.labels),
            "bytes": size,
            "failure": "",
        }

    def rungs(
        self, rounds: int, progress: Progress, within: Callable[[float, float], bool]
    ) -> tuple[Rung, ...]:
        """Times everything and judges it by the largest difference and the accuracy."""
        seconds = interleaved(self.calls, rounds, progress)
        return tuple(
            Rung(
                name=name,
                seconds=seconds.get(name, NAN),
                speed_up=seconds[PREDICT] / seconds.get(name, NAN),
                within=not found["failure"]
                and within(found["largest_difference"], self._loss(found)),
                **found,
            )
            for name, found in self.found.items()
        )

    def _loss(self, found: dict[str, Any]) -> float:
        if self.labels is None:
            return NAN
        return float(self.found[PREDICT]["accuracy"] - found["accuracy"])


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, progress: Progress
) -> dict[str, float]:
    """The median duration of each call in seconds, of those of its turns.

    All have turns, every other round backwards, so that what slows the machine slows
    all of them. A form that is used runs alone, and threads that wait for work at full
    speed outlast the call they worked for: MobileNetV2 in TFLite took 6.2 ms right
    behind other runtimes and 3.5 ms alone. So a turn begins with a pause and untimed
    calls, and has as many timed ones as there is time for.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order, total = list(calls), progress.done + rounds
    for _ in range(rounds):
        for name in order:
            time.sleep(PAUSE)
            durations(calls[name], WARM)
            seconds[name].append(float(np.median(durations(calls[name], TIMED))))
        order.reverse()
        progress.after(None, total)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def durations(call: Callable[[], Any], budget: float) -> list[float]:
    """How long each call takes, of one at least and until the budget is spent."""
    found: list[float] = []
    start = now = time.perf_counter()
    while not found or now - start < budget:
        before = now
        call()
        now = time.perf_counter()
        found.append(now - before)
    return found


PAUSE, WARM, TIMED = 0.02, 0.03, 0.05
"""Seconds of a turn: without calls, with untimed ones, with timed ones.

Of a whole ladder for MobileNetV2 the medians of single turns were then within some
percent of the times alone.
"""


def weight_bits(model: keras.Model) -> int:
    """Bits of the widest floating-point weight of a model."""
    kinds = [keras.backend.standardize_dtype(weight.dtype) for weight in model.weights]
    widths = [
        8 * np.dtype(kind).itemsize
        for kind in kinds
        if keras.backend.is_float_dtype(kind)
    ]
    return max(widths, default=32)


def reason(error: Exception) -> str:
    """The beginning of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


LONGEST = 160
"""Characters of a reason; converters write pages."""
