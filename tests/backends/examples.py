"""The examples of the public names, run on whatever backend Keras has."""

import doctest
import importlib
import inspect
import os
import re
import tempfile
from collections.abc import Iterator
from types import ModuleType

import keras
import numpy as np

import keras_dnn

NEEDS_TENSORFLOW = {
    *(
        f"callbacks.{name}"
        for name in (
            "ActivationStatistics",
            "Doctor",
            "GradientNorms",
            "MaxNorm",
            "OneCycleScheduler",
            "Probe",
            "Record",
            "StepLogger",
            "TrainingEvaluation",
            "TrainingStep",
        )
    ),
    "diagnostics.Examination",
    "diagnostics.check_gradients",
    "diagnostics.preflight",
    "distribution.MultiWorkerStrategy",
    "models.Runtime",
    "models.export_monte_carlo",
    "models.mc_predict",
    "models.optimize_for_inference",
    "pretraining.gan",
    "recipes.training",
    "tuning.find_learning_rate",
}
"""Names that work on TensorFlow only, besides all of `optimizers` but its schedules."""

# Digits that differ in the last place of float32.
NUMBER = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


def needs_tensorflow(path: str) -> bool:
    package, _, _ = path.rpartition(".")
    return path in NEEDS_TENSORFLOW or package == "optimizers"


def packages() -> Iterator[ModuleType]:
    """All public packages, `plotting` and those imported when used among them."""
    for name in {*keras_dnn.__all__, "plotting", "optimizers.schedules"}:
        if not name.startswith("__"):
            yield importlib.import_module(f"keras_dnn.{name}")


def examples() -> dict[str, str]:
    """The docstring of each public name that has an example."""
    found = {}
    for package in packages():
        for name in package.__all__:
            value = getattr(package, name)
            text = inspect.cleandoc(getattr(value, "__doc__", None) or "")
            if ">>> " in text and not isinstance(value, ModuleType):
                found[f"{package.__name__.partition('.')[2]}.{name}"] = text
    return dict(sorted(found.items()))


class Runner(doctest.DocTestRunner):
    """Keeps the first thing that went wrong."""

    problem: dict[str, str] | None = None

    def report_failure(self, out, test, example, got):
        self.problem = self.problem or {
            "kind": "printed",
            "message": f"{example.source}printed {got}instead of {example.want}",
        }

    def report_unexpected_exception(self, out, test, example, exc_info):
        kind, error, _ = exc_info
        self.problem = self.problem or {"kind": kind.__name__, "message": str(error)}


class Checker(doctest.OutputChecker):
    """Compares numbers as numbers, to six digits."""

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        numbers = [np.array(NUMBER.findall(text), float) for text in (want, got)]
        rest = ["".join(NUMBER.sub("0", text).split()) for text in (want, got)]
        same_rest = re.sub(r"\d+", "", rest[0]) == re.sub(r"\d+", "", rest[1])
        return (
            same_rest
            and numbers[0].shape == numbers[1].shape
            and np.allclose(*numbers, rtol=2e-6, atol=2e-7)
        )


def outcome(path: str, text: str) -> dict[str, str] | None:
    """What went wrong when an example ran, `None` if nothing did."""
    keras.utils.set_random_seed(0)
    test = doctest.DocTestParser().get_doctest(text, {}, path, None, 0)
    runner = Runner(Checker(), verbose=False, optionflags=doctest.FAIL_FAST)
    before = os.getcwd()  # noqa: PTH109
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            runner.run(test, out=lambda text: None)
        finally:
            os.chdir(before)
    return runner.problem
