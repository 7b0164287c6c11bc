"""Measures the candidates for a model side by side: their outputs and their times."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_dnn import _files
from keras_dnn._progress import Progress
from keras_dnn.models._output_difference import largest, means, relative_differences
from keras_dnn.models._runtimes.accuracy import accuracy, classes
from keras_dnn.models._runtimes.predictor import Predictor
from keras_dnn.models._runtimes.runtime import Run, Runtime
from keras_dnn.models._runtimes.signature import Signature, packed
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models.inference_result import CONTENTS, NAN, Candidate
from keras_dnn.models.runtimes import CALL, PREDICT

COMPARED = 64
"""Rows whose outputs are computed at once for the comparison."""


class Benchmark:
    """Compares and times candidates for a model, the model itself among them.

    Args:
        model: the model as it was given.
        signature: its inputs and outputs.
        data: the rows to compare on: an array for each input.
        expected: the outputs of the model for them.
        labels: of the rows, or `None`.
        batch_size: rows in a timed call.
    """

    def __init__(
        self,
        model: keras.Model,
        signature: Signature,
        data: list[np.ndarray],
        expected: list[np.ndarray],
        labels: ArrayLike | None,
        batch_size: int,
    ) -> None:
        self.data = data
        self.expected = expected
        self.labels = None if labels is None else classes(labels, expected)
        self.x = packed(signature.input_structure, [a[:batch_size] for a in data])
        self.calls: dict[str, Callable[[], Any]] = {}
        self.candidates: dict[str, Candidate] = {}
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

        def flat_call(x: Sequence[np.ndarray]) -> list[np.ndarray]:
            return list(keras.tree.flatten(call(packed(signature.input_structure, x))))

        self._add(CALL, bits, None, self._outputs(flat_call))
        self.calls[CALL] = lambda: call(self.x)

    def try_runtime(
        self, name: str, runtime: Runtime, source: RuntimeSource, threads: int
    ) -> None:
        """Builds a candidate and compares its outputs, or notes why there is none."""
        bits = runtime.bits or weight_bits(source.original)
        try:
            unavailable = runtime.why_unavailable()
            if unavailable:
                raise RuntimeError(unavailable)
            # What converters warn of, the differences show.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                files = runtime.build(source)
                if CONTENTS in map(_files.checked_name, files):
                    raise ValueError(f"{CONTENTS} is the name of the saved table")
                predictor = Predictor(
                    name, files, source.signature, source.batch_size, threads
                )
                outputs = self._outputs(predictor.predict)
            self._add(name, bits, sum(map(len, files.values())), outputs)
        except Exception as error:
            self.candidates[name] = Candidate(name, bits, failure=reason(error))
        else:
            self.predictors[name] = predictor
            self.calls[name] = lambda: predictor(self.x)

    def timed(
        self, rounds: int, progress: Progress, within: Callable[[float, float], bool]
    ) -> tuple[Candidate, ...]:
        """The candidates with their times, and whether they are within a tolerance.

        Args:
            rounds: turns that each candidate has.
            progress: advanced by one for each round.
            within: function of the largest difference and the loss of accuracy.
        """
        seconds = interleaved(self.calls, rounds, progress)
        return tuple(
            dataclasses.replace(
                candidate,
                seconds=seconds.get(name, NAN),
                speed_up=seconds[PREDICT] / seconds.get(name, NAN),
                within=not candidate.failure
                and within(candidate.largest_difference, self._loss(candidate)),
            )
            for name, candidate in self.candidates.items()
        )

    def _outputs(self, predict: Run) -> list[np.ndarray]:
        parts = [
            predict([a[start : start + COMPARED] for a in self.data])
            for start in range(0, len(self.data[0]), COMPARED)
        ]
        return [np.concatenate(y) for y in zip(*parts, strict=True)]

    def _add(
        self, name: str, bits: int, size: int | None, outputs: list[np.ndarray]
    ) -> None:
        differences = relative_differences(self.expected, outputs)
        self.candidates[name] = Candidate(
            name,
            bits,
            largest_difference=largest(differences),
            mean_difference=float(np.max(means(differences))),
            accuracy=None if self.labels is None else accuracy(outputs, self.labels),
            bytes=size,
        )

    def _loss(self, candidate: Candidate) -> float:
        reference = self.candidates[PREDICT].accuracy
        if reference is None or candidate.accuracy is None:
            return NAN
        return reference - candidate.accuracy


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int, progress: Progress
) -> dict[str, float]:
    """The median duration of each call in seconds, of the medians of its turns.

    All have turns, every other round backwards, so that what slows the machine slows
    all of them. In use a candidate runs alone, and threads that wait for work at full
    speed outlast the call they worked for: MobileNetV2 in TFLite took 6.2 ms right
    after other runtimes and 3.5 ms alone. So a turn is a pause, some warm-up calls,
    then timed calls.
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
    """How long each call takes, at least one and until the budget is spent."""
    found: list[float] = []
    start = now = time.perf_counter()
    while not found or now - start < budget:
        before = now
        call()
        now = time.perf_counter()
        found.append(now - before)
    return found


PAUSE, WARM, TIMED = 0.02, 0.03, 0.05
"""Seconds of a turn: without calls, with warm-up calls, with timed calls.

With these the medians of single turns of all candidates for MobileNetV2 were within a
few percent of their times alone.
"""


def weight_bits(model: keras.Model) -> int:
    """The bits of the widest floating-point weight of a model."""
    kinds = [keras.backend.standardize_dtype(weight.dtype) for weight in model.weights]
    widths = [
        8 * np.dtype(kind).itemsize
        for kind in kinds
        if keras.backend.is_float_dtype(kind)
    ]
    return max(widths, default=32)


def reason(error: Exception) -> str:
    """The first line of an error message, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


LONGEST = 160
"""Characters of a reason; converters write pages."""
