"""Times calls side by side, so that whatever slows the machine slows all of them."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Timings:
    """What `interleaved` measured; `print` it for the table.

    Attributes:
        names: names of the calls, the reference first.
        seconds: durations of the calls, of shape rounds × calls.
    """

    names: tuple[str, ...]
    seconds: np.ndarray

    @property
    def medians(self) -> np.ndarray:
        """The median duration of each call, in seconds."""
        return np.median(self.seconds, axis=0)

    @property
    def ratios(self) -> np.ndarray:
        """Quartiles of the time relative to the reference, of shape calls × 3.

        Each ratio is taken within one round, on the same machine in the same state.
        """
        per_round = self.seconds / self.seconds[:, :1]
        return np.percentile(per_round, (25, 50, 75), axis=0).T

    def __str__(self) -> str:
        width = max(map(len, self.names))
        lines = [f"{'':{width}}  median ms   ratio  (middle half)"]
        rows = zip(self.names, self.medians, self.ratios, strict=True)
        for name, median, (low, ratio, high) in rows:
            ratios = f"{ratio:6.3f}  ({low:.3f} to {high:.3f})"
            lines.append(f"{name:{width}}  {1e3 * median:9.3f}  {ratios}")
        return "\n".join(lines)


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int = 30, warmup: int = 3
) -> Timings:
    """Times calls in turns: A B, B A, A B, ...

    Every other round runs backwards, so that neither a drift of the clock nor the
    contents of caches favour the same call each time.

    Args:
        calls: the functions to time, by name; the first is the reference. Each must
            wait for its own result (`.numpy()`, not a tensor that is still being
            computed) and should take a millisecond or more.
        rounds: number of timed calls of each.
        warmup: number of calls of each before, which are not timed, to trace and
            compile.

    Returns:
        The durations, with medians, ratios and a table.
    """
    functions = list(calls.values())
    for function in functions:
        for _ in range(warmup):
            function()
    seconds = np.empty((rounds, len(functions)))
    order = range(len(functions))
    for row in seconds:
        for i in order:
            start = time.perf_counter()
            functions[i]()
            row[i] = time.perf_counter() - start
        order = order[::-1]
    return Timings(tuple(calls), seconds)


def machine() -> str:
    """A description of this machine."""
    devices = tf.config.list_physical_devices("GPU")
    names = [
        tf.config.experimental.get_device_details(d)["device_name"] for d in devices
    ]
    processor = ", ".join(names) or platform.processor() or platform.machine()
    versions = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    return f"{processor}, {os.cpu_count()} cores, {versions}"


def copy_bandwidth(megabytes: int = 256) -> float:
    """Bytes per second that this machine reads and writes when it copies an array."""
    source = np.ones(megabytes * 2**18, "float32")
    target = np.empty_like(source)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)
