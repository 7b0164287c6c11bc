"""The forms of a model that were measured, and the fastest of them to use."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_dnn._result import Result
from keras_dnn.models._runtimes.predictor import Predictor
from keras_dnn.models._runtimes.registry import FORMS
from keras_dnn.models._runtimes.signature import Ports

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTENTS = "contents.json"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Rung(Result):
    """One form of the model, as it was measured.

    Attributes:
        name: of the form.
        bits: of a weight.
        seconds: median duration of a call with one batch, warm and undisturbed by the
            other forms; NaN if the form failed.
        speed_up: how many times as fast as `model.predict`.
        largest_difference: from the outputs of the model, as a share of their standard
            deviation; of several outputs, of the one that differs most.
        mean_difference: the same, on average.
        accuracy: on the labels, if there were any.
        bytes: size of the form, uncompressed; `None` of the Keras model.
        within: whether the form is within the tolerance.
        failure: why this model or machine does not have the form, else empty.
    """

    name: str
    bits: int
    seconds: float
    speed_up: float
    largest_difference: float
    mean_difference: float
    accuracy: float | None
    bytes: int | None
    within: bool
    failure: str = ""


@dataclasses.dataclass(frozen=True)
class InferenceResult(Result):
    """What `optimize_for_inference` found: call it for predictions, print it.

    `result(x)` takes inputs as the model takes them, any number of rows of the shape of
    those it was measured with, and gives NumPy arrays nested as the model's outputs.
    It can be pickled, and called from several threads.

    Attributes:
        fastest: the name of the form that a call uses, the fastest within the
            tolerance; `None` if there is none.
        rungs: all forms in the order of the ladder: `model.predict` and `model(x)`, the
            references, then the candidates.
        tolerance: of the largest difference.
        max_accuracy_loss: the tolerance of the accuracy, which then counts instead.
        batch_size: rows in a timed call.
        rows: how many were compared.
        threads: that a call uses, where a runtime can be told.
        preparation: what was taken out of the model.
        predictor: what a call runs.
    """

    fastest: str | None
    rungs: tuple[Rung, ...]
    tolerance: float
    max_accuracy_loss: float | None
    batch_size: int
    rows: int
    threads: int
    preparation: str
    predictor: Predictor | None

    def __call__(self, x: Any) -> Any:
        """Predicts with the fastest form."""
        return self._usable()(x)

    def _usable(self) -> Predictor:
        if self.predictor is None:
            raise RuntimeError(
                "None of the candidates is within the tolerance; see what there is, "
                f"and give a larger one or others.\n{self}"
            )
        return self.predictor

    def __str__(self) -> str:
        names = [rung.name for rung in self.rungs]
        width = max(map(len, names))
        labels = any(rung.accuracy is not None for rung in self.rungs)
        head = f"{'':{width}}  bits        ms  speed-up  largest     mean"
        head += "  accuracy" * labels + "       MB"
        lines = [self._summary(), "", head]
        for rung in self.rungs:
            name = f"{rung.name:{width}}"
            if rung.failure:
                lines.append(f"{name}  {rung.bits:4}  {rung.failure}")
            else:
                lines.append(f"{name}  {self._numbers(rung, labels)}".rstrip())
        return "\n".join([*lines, "", self._note(labels)])

    def _summary(self) -> str:
        bound = f"a difference of {self.tolerance:g}"
        if self.max_accuracy_loss is not None:
            bound = f"a loss of {self.max_accuracy_loss:g} in accuracy"
        if self.fastest is None:
            return f"no candidate is within {bound}"
        (rung,) = (r for r in self.rungs if r.name == self.fastest)
        return (
            f"{rung.name}: {rung.speed_up:.1f} times as fast as model.predict, the "
            f"fastest within {bound}"
        )

    def _numbers(self, rung: Rung, labels: bool) -> str:
        accuracy = f"  {rung.accuracy:8.4f}" if labels else ""
        size = f"{'':9}" if rung.bytes is None else f"{rung.bytes / 1e6:9.2f}"
        return (
            f"{rung.bits:4}  {1e3 * rung.seconds:8.3f}  {rung.speed_up:7.1f}x  "
            f"{rung.largest_difference:7.1e}  {rung.mean_difference:7.1e}"
            f"{accuracy}{size}{'' if rung.within else '  beyond the tolerance'}"
        )

    def _note(self, labels: bool) -> str:
        return (
            f"Medians of one call with {self.batch_size} "
            f"row{'s' * (self.batch_size > 1)}; differences"
            f"{' and accuracy' * labels} over {self.rows} rows, in standard "
            f"deviations of the model's outputs. {self.preparation}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Gives the ladder as plain numbers, lists and texts, ready for JSON.

        Returns:
            A dict with an entry for each attribute but the predictor.
        """
        found = super().to_dict()
        del found["predictor"]
        return found

    def plot(self) -> Figure:
        """Draws the ladder: how fast each form is, and how far it is from the model.

        Returns:
            The figure.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from keras_dnn import plotting

        rungs = [rung for rung in self.rungs if not rung.failure]
        return plotting.ladder(
            [rung.name for rung in rungs],
            [1e3 * rung.seconds for rung in rungs],
            [rung.largest_difference for rung in rungs],
            [rung.within for rung in rungs],
            fastest=self.fastest,
            accuracies=[rung.accuracy for rung in rungs],
            tolerance=self.tolerance if self.max_accuracy_loss is None else None,
        )

    def save(self, path: str | Path) -> None:
        """Writes the fastest form and the ladder into one file.

        It is a zip archive, in which the form lies as it is: `model.tflite`,
        `model.onnx` or the files of a SavedModel can be taken out and used elsewhere.

        Args:
            path: of the file; by habit it ends in `.zip`.

        Raises:
            RuntimeError: if no form is within the tolerance.
        """
        predictor = self._usable()
        contents = {
            "version": VERSION,
            **self.to_dict(),
            "ports": predictor.ports.to_dict(),
        }
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(CONTENTS, json.dumps(contents, indent=1))
            for name, content in predictor.files.items():
                archive.writestr(name, content)

    @classmethod
    def load(cls, path: str | Path) -> InferenceResult:
        """Reads what `save` wrote.

        Neither Keras's layers nor those of the model are needed. A file from a source
        that you do not trust can run what it likes, as any TensorFlow graph can.

        Args:
            path: of the file.

        Returns:
            The result, which predicts as the saved one does.

        Raises:
            ValueError: if the file is not one of `save`, or of a later version.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
            found = json.loads(files.pop(CONTENTS))
        except (zipfile.BadZipFile, KeyError) as error:
            raise ValueError(
                f"path must be of a file that save wrote. Received: path={str(path)!r}"
            ) from error
        ports = Ports.from_dict(found.pop("ports"))
        if found.pop("version") > VERSION or found["fastest"] not in FORMS:
            raise ValueError(
                "path must be of a file that this version of keras_dnn knows. "
                f"Received: path={str(path)!r} with the form {found['fastest']!r}"
            )
        rungs = tuple(Rung(**rung) for rung in found.pop("rungs"))
        predictor = Predictor(
            found["fastest"], files, ports, found["batch_size"], found["threads"]
        )
        return cls(**found, rungs=rungs, predictor=predictor)
