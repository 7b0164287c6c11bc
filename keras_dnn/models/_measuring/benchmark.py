"""Measures the candidates for a model side by side: their outputs and their times."""

from __future__ import annotations

import dataclasses
import gc
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_dnn import _files
from keras_dnn.models._measuring.accuracy import accuracy, class_accuracies, classes
from keras_dnn.models._measuring.predictor import Predictor, reason
from keras_dnn.models._measuring.reference import COMPARED, Reference
from keras_dnn.models._output_difference import (
    column_differences,
    largest,
    means,
    not_finite,
    relative_differences,
)
from keras_dnn.models._runtimes.converters import LARGE
from keras_dnn.models._runtimes.runtime import Run, Runtime
from keras_dnn.models._runtimes.signature import Signature, packed
from keras_dnn.models._runtimes.source import RuntimeSource
from keras_dnn.models._runtimes.stored_files import stored
from keras_dnn.models.candidate import NAN, Candidate
from keras_dnn.models.inference_result import CONTENTS
from keras_dnn.models.runtimes import CALL, PREDICT


class Benchmark:
    """Compares and times candidates for a model, one at a time, beside the model.

    Each candidate is built, compared, timed in turns with the fastest one before it and
    closed, so that no more than two runtimes are open at once.

    Args:
        reference: the model, and the outputs that count as right.
        signature: its inputs and outputs.
        data: the rows to compare on: an array for each input.
        labels: of the rows, or `None`.
        batch_size: rows in a timed call.
        rounds: turns that each candidate has.
        within: whether a largest difference and a loss of accuracy are allowed.
    """

    def __init__(
        self,
        reference: Reference,
        signature: Signature,
        data: list[np.ndarray],
        labels: ArrayLike | None,
        batch_size: int,
        rounds: int,
        within: Callable[[float, float], bool],
    ) -> None:
        self.data = data
        self.expected = reference.outputs
        self.names = reference.names
        self.labels = None if labels is None else classes(labels, self.expected)
        self.rounds = rounds
        self.within = within
        x = [a[:batch_size] for a in data]
        self.x = packed(signature.input_structure, x)
        self.candidates: dict[str, Candidate] = {}
        self.best: Predictor | None = None
        self._accuracies: dict[int, float] = {}

        bits = weight_bits(reference.model)
        self._add(PREDICT, bits, None, self.expected)
        self._add(CALL, bits, None, self._outputs(reference.call))
        calls = {
            PREDICT: lambda: reference.predict(self.x, batch_size),
            CALL: lambda: reference.call(x),
        }
        for name, seconds in interleaved(calls, rounds).items():
            self._set_seconds(name, seconds)
        # The first candidate takes turns with the model.
        self._opponent: tuple[str, Callable[[], Any]] = (CALL, calls[CALL])

    def try_runtime(
        self, name: str, runtime: Runtime, source: RuntimeSource, threads: int
    ) -> None:
        """Builds, compares and times a candidate, or notes why there is none."""
        bits: int | None = None
        try:
            bits = runtime.bits or weight_bits(source.original)
            unavailable = runtime.why_unavailable()
            if unavailable:
                raise RuntimeError(unavailable)
            # What converters warn of, the differences show.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                built = runtime.build(source)
                if CONTENTS in map(_files.checked_name, built):
                    raise ValueError(f"{CONTENTS} is the name of the saved table")
                number = len(self.candidates)
                files = stored(built, source.folder / f"candidate-{number}")
                del built
                predictor = Predictor(
                    name, files, source.signature, source.batch_size, threads
                )
                self._add(name, bits, files.size, self._outputs(predictor.predict))
            self._time(name, predictor)
        except Exception as error:
            text = reason(error).removeprefix(f"The runtime {name!r} failed: ")
            bits = bits or weight_bits(source.original)
            self.candidates[name] = Candidate(name, bits, failure=text)
        if source.original.count_params() > LARGE // 4:
            # What was loaded refers to itself, and would wait for its turn.
            gc.collect()

    def _time(self, name: str, predictor: Predictor) -> None:
        """Times a candidate in turns with the fastest one that is within so far.

        The machine may be slower or faster than before: the opponent's time then and
        now says by how much.
        """
        opponent, call = self._opponent
        calls = {opponent: call, name: lambda: predictor(self.x)}
        found = interleaved(calls, self.rounds)
        before = self.candidates[opponent].seconds
        seconds = before * found[name] / found[opponent]
        self._set_seconds(name, seconds)
        if self.candidates[name].within and (self.best is None or seconds < before):
            self.best = predictor
            self._opponent = (name, calls[name])
        else:
            predictor.close()

    def _set_seconds(self, name: str, seconds: float) -> None:
        predict = seconds if name == PREDICT else self.candidates[PREDICT].seconds
        self.candidates[name] = dataclasses.replace(
            self.candidates[name], seconds=seconds, speed_up=predict / seconds
        )

    def _outputs(self, predict: Run) -> list[np.ndarray]:
        """The outputs for all rows, in the shapes of those that are expected."""
        parts = []
        for start in range(0, len(self.data[0]), COMPARED):
            x = [a[start : start + COMPARED] for a in self.data]
            y = predict(x)
            if len(y) != len(self.expected):
                raise ValueError(
                    f"gives {len(y)} outputs instead of {len(self.expected)}"
                )
            if any(len(part) != len(x[0]) for part in y):
                raise ValueError(
                    f"gives outputs of {[len(part) for part in y]} rows for {len(x[0])}"
                )
            parts.append(y)
        return [np.concatenate(y) for y in zip(*parts, strict=True)]

    def _add(
        self, name: str, bits: int, size: int | None, outputs: list[np.ndarray]
    ) -> None:
        differences = relative_differences(self.expected, outputs)
        wrong = not_finite(self.expected, outputs)
        if wrong:
            raise ValueError(f"gives {wrong}")
        measured: dict[str, Any] = {}
        lost = NAN
        if self.labels is not None:
            by_class = class_accuracies(outputs, self.labels)
            self._accuracies = self._accuracies or by_class
            measured["accuracy"] = accuracy(outputs, self.labels)
            measured["class_accuracies"] = by_class
            measured["worst_class"] = max(
                by_class, key=lambda kind: self._accuracies[kind] - by_class[kind]
            )
            reference = self.candidates.get(PREDICT)
            right = measured["accuracy"] if reference is None else reference.accuracy
            lost = right - measured["accuracy"]
        difference = largest(differences)
        columns = column_differences(self.expected, outputs)
        self.candidates[name] = Candidate(
            name,
            bits,
            largest_difference=difference,
            mean_difference=float(np.max(means(differences))),
            bytes=size,
            within=math.isfinite(difference) and self.within(difference, lost),
            column_differences=tuple(tuple(c.tolist()) for c in columns),
            worst_column=_worst_column(columns, self.names),
            **measured,
        )


def _worst_column(columns: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """The output and the column that differs most; empty if there is only one."""
    worst = max(range(len(columns)), key=lambda i: columns[i].max(initial=0.0))
    parts = [names[worst]] if len(columns) > 1 else []
    if columns[worst].size > 1:
        parts.append(f"[{int(columns[worst].argmax())}]")
    return "".join(parts)


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, float]:
    """The median duration of each call in seconds, of the medians of its turns.

    All have turns, every other round backwards, so that what slows the machine slows
    all of them. In use a candidate runs alone, and threads that wait for work at full
    speed outlast the call they worked for: MobileNetV2 in TFLite took 6.2 ms right
    after other runtimes and 3.5 ms alone. So a turn is a pause, some warm-up calls,
    then timed calls.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            time.sleep(PAUSE)
            durations(calls[name], WARM)
            seconds[name].append(float(np.median(durations(calls[name], TIMED))))
        order.reverse()
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
