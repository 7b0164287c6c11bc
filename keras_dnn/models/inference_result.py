"""The candidates that were measured for a model, and the fastest of them to use."""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_dnn import _files
from keras_dnn._result import Result
from keras_dnn.models._measuring.predictor import Predictor
from keras_dnn.models._runtimes.signature import Signature
from keras_dnn.models.candidate import Candidate
from keras_dnn.models.runtimes import REGISTRY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTENTS = "contents.json"
VERSION = 2


@dataclasses.dataclass(frozen=True)
class InferenceResult(Result):
    """What `optimize_for_inference` found: call it for predictions, print it.

    `result(x)` takes inputs as the model takes them, any number of rows of the shape of
    those it was measured with, and gives NumPy arrays nested as the model's outputs.
    Numbers that the dtype of an input cannot hold raise a `ValueError`.
    It can be pickled, and called from several threads.

    Attributes:
        fastest: the name of the candidate that a call uses, the fastest within the
            tolerance; `None` if there is none.
        candidates: all candidates in the order in which they were built, after the
            references `model.predict` and `model(x)`.
        tolerance: of the largest difference.
        max_accuracy_loss: the tolerance of the accuracy; if given, it replaces the
            other one.
        batch_size: rows in a timed call.
        rows: how many were compared.
        threads: that a call uses, for runtimes that take a number of threads.
        preparation: what was removed from the model.
        predictor: what a call runs.
    """

    fastest: str | None
    candidates: tuple[Candidate, ...]
    tolerance: float
    max_accuracy_loss: float | None
    batch_size: int
    rows: int
    threads: int
    preparation: str
    predictor: Predictor | None

    def __call__(self, x: Any) -> Any:
        """Predicts with the fastest candidate."""
        return self._usable()(x)

    def _usable(self) -> Predictor:
        if self.predictor is None:
            raise RuntimeError(
                "None of the candidates is within the tolerance. Allow a larger one or "
                f"try other candidates; these were measured:\n{self}"
            )
        return self.predictor

    def __str__(self) -> str:
        width = max(len(candidate.name) for candidate in self.candidates)
        labels = any(candidate.accuracy is not None for candidate in self.candidates)
        head = f"{'':{width}}  bits        ms  speed-up  largest     mean"
        head += "  accuracy" * labels + "       MB  worst"
        lines = [self._summary(), "", head]
        for candidate in self.candidates:
            name = f"{candidate.name:{width}}"
            if candidate.failure:
                lines.append(f"{name}  {candidate.bits:4}  {candidate.failure}")
            else:
                lines.append(f"{name}  {self._numbers(candidate, labels)}".rstrip())
        return "\n".join([*lines, "", self._note(labels)])

    def _summary(self) -> str:
        bound = f"a difference of {self.tolerance:g}"
        if self.max_accuracy_loss is not None:
            bound = f"a loss of {self.max_accuracy_loss:g} in accuracy"
        if self.fastest is None:
            return f"no candidate is within {bound}"
        (best,) = (c for c in self.candidates if c.name == self.fastest)
        return (
            f"{best.name}: {best.speed_up:.1f} times as fast as model.predict, the "
            f"fastest within {bound}"
        )

    def _numbers(self, found: Candidate, labels: bool) -> str:
        accuracy = f"  {found.accuracy:8.4f}" if labels else ""
        size = f"{'':9}" if found.bytes is None else f"{found.bytes / 1e6:9.2f}"
        return (
            f"{found.bits:4}  {1e3 * found.seconds:8.3f}  {found.speed_up:7.1f}x  "
            f"{found.largest_difference:7.1e}  {found.mean_difference:7.1e}"
            f"{accuracy}{size}  {self._worst(found)}"
            f"{'' if found.within else '  beyond the tolerance'}"
        )

    def _worst(self, found: Candidate) -> str:
        """The column that differs most, and the class that loses most accuracy."""
        parts = []
        if found.worst_column and found.worst_column_difference > 0:
            parts.append(f"{found.worst_column} {found.worst_column_difference:.1e}")
        before = self.candidates[0].class_accuracies
        if found.worst_class is not None and found.class_accuracies and before:
            kind = found.worst_class
            now = found.class_accuracies[kind]
            if now < before[kind]:
                parts.append(f"class {kind}: {before[kind]:.2f} -> {now:.2f}")
        return ", ".join(parts)

    def _note(self, labels: bool) -> str:
        return (
            f"Medians of one call with {self.batch_size} "
            f"row{'s' * (self.batch_size > 1)}; differences"
            f"{' and accuracy' * labels} over {self.rows} rows, in standard "
            "deviations of the model's outputs; the worst column in its own. "
            f"{self.preparation}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Gives the table as plain numbers, lists and texts, ready for JSON.

        Returns:
            A dict with an entry for each attribute but the predictor.
        """
        found = super().to_dict()
        found.pop("predictor", None)
        return found

    def plot(self) -> Figure:
        """Draws how fast each candidate is, and how much its outputs differ.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        measured = [candidate for candidate in self.candidates if not candidate.failure]
        return plotting.candidates(
            [candidate.name for candidate in measured],
            [1e3 * candidate.seconds for candidate in measured],
            [candidate.largest_difference for candidate in measured],
            [candidate.within for candidate in measured],
            fastest=self.fastest,
            accuracies=[candidate.accuracy for candidate in measured],
            tolerance=self.tolerance if self.max_accuracy_loss is None else None,
        )

    def save(self, path: str | Path) -> None:
        """Writes the fastest candidate and the table into one file.

        It is a zip archive that holds the files of the runtime as they are, such as
        `model.tflite`, `model.onnx` or those of a SavedModel, to be extracted and used
        elsewhere. A file that is there already is replaced when the new one is
        complete.

        Args:
            path: of the file; by convention it ends in `.zip`.

        Raises:
            RuntimeError: if no candidate is within the tolerance.
            FileNotFoundError: if the folder does not exist.
        """
        predictor = self._usable()
        contents = {
            "version": VERSION,
            **self.to_dict(),
            "signature": predictor.signature.to_dict(),
        }
        table = json.dumps(contents, indent=1).encode()
        _files.write_archive(path, [(CONTENTS, table), *predictor.files.items()])

    @classmethod
    def load(cls, path: str | Path) -> InferenceResult:
        """Reads what `save` wrote.

        The model's own layers are not needed. Load only files that you trust: like any
        TensorFlow graph, they can run arbitrary operations.

        Args:
            path: of the file.

        Returns:
            The result, which predicts as the saved one does.

        Raises:
            ValueError: if `save` did not write the file, it is damaged, a later version
                wrote it, or its runtime is not registered.
            FileNotFoundError: if there is no such file.
        """
        found, files = _read(Path(path))
        if found["version"] > VERSION or found["fastest"] not in REGISTRY:
            raise ValueError(
                "path must be of a file that this version of keras_dnn can read, with "
                "a runtime that is registered in this process. "
                f"Received: path={str(path)!r} with the runtime {found['fastest']!r}"
            )
        try:
            del found["version"]
            signature = Signature.from_dict(found.pop("signature"))
            candidates = tuple(map(Candidate._from_dict, found.pop("candidates")))
            settings = found["batch_size"], found["threads"]
            predictor = Predictor(found["fastest"], files, signature, *settings)
            return cls(**found, candidates=candidates, predictor=predictor)
        except (TypeError, LookupError, AttributeError) as error:
            raise ValueError(_not_saved(path, error)) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The table of an archive, and the files of the runtime by name."""
    if path.is_dir():
        raise ValueError(_not_saved(path, "it is a folder"))
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                entry.filename for entry in archive.infolist() if not entry.is_dir()
            ]
            files = {_files.checked_name(name): archive.read(name) for name in names}
        found = json.loads(files.pop(CONTENTS))
        if "version" not in found or not isinstance(found.get("fastest"), str):
            raise ValueError("it has no version or names no runtime")
        found["version"] = int(found["version"])
        return found, files
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise ValueError(_not_saved(path, error)) from error


UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, OSError, EOFError),
    *(zipfile.BadZipFile, zlib.error, RuntimeError),
)
"""What reading a damaged file, or one of something else, may raise."""


def _not_saved(path: str | Path, reason: object) -> str:
    lines = str(reason).splitlines() or [type(reason).__name__]
    return (
        "path must be of a file that save wrote, as it wrote it. "
        f"Received: path={str(path)!r} ({lines[0]})"
    )
