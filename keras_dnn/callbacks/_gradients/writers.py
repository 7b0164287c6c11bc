"""Files that gradient norms are written to while training goes on."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_dnn import _files
from keras_dnn._tensorflow import tf
from keras_dnn.callbacks._gradients.history import GradientArrays
from keras_dnn.callbacks._probe.histogram import counts_and_edges


class _Series(NamedTuple):
    """What is written under one tag, a row for each step.

    Attributes:
        tag: its name in the file.
        overall: of all variables together.
        by_variable: of each variable, along the last axis.
    """

    tag: str
    overall: np.ndarray
    by_variable: np.ndarray


def _series(arrays: GradientArrays, ratios: bool) -> Iterator[_Series]:
    yield _Series("gradient_norm", arrays.global_norms, arrays.norms)
    yield _Series(
        "clipped_gradient_norm", arrays.global_clipped_norms, arrays.clipped_norms
    )
    if ratios:
        yield _Series("update_ratio", arrays.global_ratios, arrays.ratios)


class TensorBoardWriter:
    """Writes steps as TensorBoard scalars and histograms.

    Args:
        log_dir: the folder to write to.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, log_dir: str) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError(
                "log_dir needs TensorBoard. Install it with: "
                "pip install 'keras_dnn[tensorboard]'"
            )
        self.log_dir = log_dir
        self._file: Any = None

    def _open(self) -> Any:
        if self._file is None:
            self._file = tf.summary.create_file_writer(self.log_dir)
        return self._file.as_default()

    def write(self, arrays: GradientArrays, names: Sequence[str], ratios: bool) -> None:
        """Writes a scalar for each step, and one for each step and variable."""
        with self._open():
            for tag, overall, by_variable in _series(arrays, ratios):
                self._write_scalars(tag, arrays.steps, overall)
                for name, values in zip(names, by_variable.T, strict=True):
                    self._write_scalars(f"{tag}/{name}", arrays.steps, values)
        self._file.flush()

    def _write_scalars(self, tag: str, steps: np.ndarray, values: np.ndarray) -> None:
        for step, value in zip(steps, values, strict=True):
            tf.summary.scalar(tag, value, step=step)

    def write_histograms(
        self, steps: np.ndarray, histograms: np.ndarray, names: Sequence[str]
    ) -> None:
        """Writes a histogram for each of these steps and variables."""
        metadata = importlib.import_module("tensorboard.plugins.histogram.metadata")

        counts, edges = counts_and_edges(histograms)
        # What the plugin wants: left edge, right edge and count of each bin.
        bins = np.stack([edges[..., :-1], edges[..., 1:], counts], axis=-1)
        about = metadata.create_summary_metadata(display_name=None, description=None)
        with self._open():
            for step, of_step in zip(steps, bins, strict=True):
                for name, tensor in zip(names, of_step, strict=True):
                    tag = f"gradient/{name}"
                    tf.summary.write(tag, tensor, step=step, metadata=about)
        self._file.flush()

    def close(self) -> None:
        """Closes the file; the next row opens another."""
        if self._file is not None:
            self._file.close()
            self._file = None


class CsvWriter:
    """Writes steps as rows of a CSV file, under a line of names.

    Args:
        path: the file. When a record begins, rows of steps before its first one are
            kept if they are of the same variables, so that a training that is resumed
            continues its file; all else is overwritten.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._header: list[str] | None = None

    def begin(self, names: Sequence[str], ratios: bool) -> None:
        """Starts a record of these variables; the first row decides what is kept."""
        self._header = ["step"]
        for tag, _, _ in _series(GradientArrays.empty(len(names)), ratios):
            self._header += [tag, *(f"{tag}/{name}" for name in names)]

    def write(self, arrays: GradientArrays, ratios: bool) -> None:
        """Adds a row for each step."""
        blocks = [
            np.column_stack([overall, by_variable])
            for _, overall, by_variable in _series(arrays, ratios)
        ]
        rows = np.concatenate(blocks, axis=1).tolist()
        steps = arrays.steps.tolist()
        text = _text([step, *row] for step, row in zip(steps, rows, strict=True))
        if self._header is None:
            _files.append(self.path, text)
            return
        header, self._header = self._header, None
        earlier = _rows_before(steps[0], self.path, header)
        _files.write(self.path, _text([header]) + earlier + text)


def _text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _rows_before(step: int, path: Path, header: Sequence[str]) -> str:
    """The rows of earlier steps in a file with this header, without a torn one."""
    if not path.is_file():
        return ""
    found, *lines = path.read_bytes().decode(errors="replace").split("\n")
    if _without_numbers(f"{found}\n") != _without_numbers(_text([header])):
        return ""
    # What follows the last line break is empty, or was not written to its end.
    rows = [line.split(",") for line in lines[:-1]]
    earlier = [
        f"{','.join(row)}\n"
        for row in rows
        if len(row) == len(header) and row[0].isdecimal() and int(row[0]) < step
    ]
    return "".join(earlier)


def _without_numbers(header: str) -> str:
    """The names without those numbers by which Keras tells models of a process apart.

    A model that is made again in a notebook has `sequential_1` where it had
    `sequential`.
    """
    return re.sub(r"_\d+(?=[/,\r])", "", header)
