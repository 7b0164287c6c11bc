"""Nothing public is left out of the battery, and the battery can fail."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable

import keras
import pytest

import tests.zoo.battery as battery
import tests.zoo.operations  # noqa: F401
from keras_dnn import models
from tests.zoo.all_models import ZOO
from tests.zoo.battery import OPERATIONS, Operation, Outcome, outcome
from tests.zoo.page import rendered
from tests.zoo.record import PAGE, recorded
from tests.zoo.refusals import REFUSALS, WARNINGS, Expected
from tests.zoo.sample import EVERY_TIME
from tests.zoo.subject import Subject

WITHOUT_A_MODEL = {
    "no model of a user's: what it holds or gives is made by an operation": (
        "initializers.DeltaOrthogonal initializers.GlorotNormal "
        "initializers.GlorotUniform initializers.HeUniform initializers.LeCunNormal "
        "initializers.LeCunUniform initializers.VarianceScaling "
        "initializers.calculate_gain initializers.for_activation "
        "optimizers.Hyperparameter optimizers.Optimizer"
    ),
    "a layer or a loss that a model is built with": (
        "layers.BiasMap layers.HierarchicalCrossentropy layers.HierarchicalSoftmax "
        "layers.HierarchicalTopK layers.MCAlphaDropout layers.MCDropout "
        "layers.MCGaussianDropout layers.MCSpatialDropout1D layers.MCSpatialDropout2D "
        "layers.MCSpatialDropout3D layers.MonteCarlo layers.RReLU"
    ),
    "takes numbers, labels or predictions, not a model": (
        "models.Calibration models.calibration recipes.BiasVariance "
        "recipes.bias_variance tuning.Border tuning.BorderAlarm tuning.Dimension "
        "tuning.PredictionComparison tuning.ScoreComparison tuning.border_alarm "
        "tuning.compare tuning.compare_predictions tuning.log_uniform tuning.narrow "
        "tuning.one_minus_log_uniform"
    ),
    "builds a model of its own": (
        "recipes.deep_network recipes.self_normalizing_network"
    ),
    "extends a registry, which operations use": (
        "diagnostics.Check diagnostics.Examination diagnostics.register_check "
        "diagnostics.registered_checks diagnostics.unregister_check models.Runtime "
        "models.RuntimeSource models.register_runtime models.registered_runtimes "
        "models.unregister_runtime"
    ),
    "part of a report": (
        "diagnostics.Chart diagnostics.Finding diagnostics.LayerSignal "
        "diagnostics.NonfiniteStep diagnostics.TrainingHistory"
    ),
    "starts processes of its own, which tests/distribution do": (
        "distribution.MultiWorkerStrategy distribution.StepTimeout "
        "distribution.launch distribution.save_on_chief"
    ),
}
PACKAGES = (
    "callbacks",
    "diagnostics",
    "distribution",
    "initializers",
    "layers",
    "models",
    "optimizers",
    "pretraining",
    "recipes",
    "tuning",
)
"""Schedules and plots take numbers only."""


def test_every_public_name_is_used_or_takes_no_model() -> None:
    public = {
        f"{package}.{name}"
        for package in PACKAGES
        for name in importlib.import_module(f"keras_dnn.{package}").__all__
        if name != "schedules"
    }
    used = {name for operation in OPERATIONS.values() for name in operation.names}
    excused = [name for names in WITHOUT_A_MODEL.values() for name in names.split()]
    assert len(excused) == len(set(excused))
    assert not used.intersection(excused)
    assert used.union(excused) == public


@pytest.mark.parametrize("entry", [*REFUSALS, *WARNINGS], ids=lambda e: e.sentence)
def test_an_expectation_names_what_exists(entry: Expected) -> None:
    assert set(entry.operations.split()) <= set(OPERATIONS)
    if isinstance(entry.models, str):
        assert set(entry.models.split()) <= set(ZOO)


def test_the_sample_names_models() -> None:
    assert set(ZOO) >= EVERY_TIME


def test_the_page_shows_what_is_recorded() -> None:
    assert PAGE.read_text(encoding="utf-8") == rendered(recorded())


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(ZOO["raw_regression"])


@pytest.fixture
def ended(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """How a use of the model ends, with what the tables expect of it."""

    def end(
        use: Callable[[Subject], object],
        refusal: str | None = None,
        warning: str | None = None,
    ) -> Outcome:
        for table, sentence in (("REFUSALS", refusal), ("WARNINGS", warning)):
            entry = Expected(sentence or "", "use", subject.zoo.name)
            monkeypatch.setattr(battery, table, () if sentence is None else (entry,))
        return outcome(Operation("use", (), "surgery", use, ()), subject)

    return end


def test_what_works_is_no_fault(ended: Callable[..., Outcome]) -> None:
    assert ended(lambda s: s.model.summary(print_fn=str)) == Outcome("works")


def test_an_exception_of_keras_is_a_fault(ended: Callable[..., Outcome]) -> None:
    # A ValueError of one line, and expected: it is still Keras that raises it.
    found = ended(lambda s: s.model.get_layer("nowhere"), refusal="No such layer")
    assert "No such layer" in found.fault


def test_a_refusal_is_expected_or_a_fault(ended: Callable[..., Outcome]) -> None:
    def use(subject: Subject) -> None:
        models.prune(subject.model, 2.0)

    assert "sparsity must be" in ended(use).fault
    assert "sparsity must be" in ended(use, refusal="model must be").fault
    found = ended(use, refusal="sparsity must be")
    assert not found.fault
    assert found.said.startswith("sparsity must be")
    assert "Received" not in found.said


def test_an_expectation_that_nothing_needs_is_a_fault(
    ended: Callable[..., Outcome],
) -> None:
    assert "expects" in ended(lambda _: None, refusal="anything").fault
    assert "no warning says" in ended(lambda _: None, warning="anything").fault


def test_a_warning_is_expected_or_a_fault(ended: Callable[..., Outcome]) -> None:
    def use(_: Subject) -> None:
        warnings.warn("take care", stacklevel=2)

    assert "take care" in ended(use).fault
    assert ended(use, warning="care") == Outcome("works")


def test_a_model_that_changes_is_a_fault(ended: Callable[..., Outcome]) -> None:
    def use(subject: Subject) -> None:
        variable = subject.model.variables[-1]
        variable.assign(variable + 1)

    assert "changed: value of" in ended(use).fault


def test_random_states_that_move_are_a_fault(ended: Callable[..., Outcome]) -> None:
    found = ended(lambda _: keras.layers.Dense(1))
    assert "the random state of Python has moved" in found.fault
