"""One registry for `preflight` and `Doctor`: built-in checks and those of users."""

import numpy as np
import pytest

from keras_dnn.callbacks import Doctor
from keras_dnn.diagnostics import (
    preflight,
    register_check,
    registered_checks,
    unregister_check,
)
from keras_dnn.diagnostics._explanations import explanations
from keras_dnn.diagnostics.registry import REGISTRY
from tests.diagnostics import networks

BUILT_IN = [*registered_checks("before"), *registered_checks("during")]


def checked_before_training(**options):
    return preflight(networks.network(), *networks.digits(), verbose=0, **options)


def checked_during_training(**options):
    doctor = Doctor(verbose=0, **options)
    networks.network().fit(*networks.digits(), verbose=0, callbacks=[doctor])
    return doctor.report


@pytest.fixture
def too_small():
    """A check of a user's own on the model, before training."""

    @register_check("too-small", looks_for="few weights", threshold=1e9, advice="More.")
    def find(examination, check):
        count = examination.model.count_params()
        if count < check.threshold:
            yield check.finding("note", "The model is small.", weights=count)

    yield "too-small"
    unregister_check("too-small")


@pytest.fixture
def too_short():
    """A check of a user's own on the training history."""

    @register_check(
        "too-short", when="during", looks_for="few steps", threshold=9, advice="Go on."
    )
    def find(history, check):
        if len(history.losses) < check.threshold:
            yield check.finding("note", "It was short.", steps=len(history.losses))

    yield "too-short"
    unregister_check("too-short", when="during")


def test_preflight_makes_a_check_of_a_user(too_small):
    report = checked_before_training()
    (finding,) = report.named(too_small)
    assert finding.evidence == {"weights": 3_972}
    assert report.checked[-1] == too_small
    # The guide does not explain it.
    assert not finding.see
    assert not checked_before_training(thresholds={too_small: 1.0}).named(too_small)
    assert too_small not in checked_before_training(skip=[too_small]).checked


def test_the_doctor_makes_a_check_of_a_user(too_short):
    report = checked_during_training()
    (finding,) = report.named(too_short)
    assert finding.evidence == {"steps": 3}
    assert report.checked[-1] == too_short
    assert too_short not in Doctor(skip=too_short).report.checked
    assert not checked_during_training(thresholds={too_short: 1.0}).named(too_short)


def test_a_threshold_for_a_check_that_has_none_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"'nonfinite' has none .* by skip"):
        Doctor(thresholds={"nonfinite": 1.0})
    with pytest.raises(ValueError, match=r"thresholds\['plateau'\] must be a number"):
        Doctor(thresholds={"plateau": "high"})


def test_an_unregistered_check_is_not_made(too_short):
    assert too_short in [check.name for check in registered_checks("during")]
    assert too_short not in [check.name for check in registered_checks("before")]
    unregister_check(too_short, when="during")
    assert too_short not in Doctor().report.checked
    register_check(too_short, when="during", looks_for="", advice="")(None)


def test_a_check_replaces_another_of_its_name_in_its_place():
    before = registered_checks()
    names = [check.name for check in before]
    try:
        register_check("labels", looks_for="nothing", advice="")(lambda *_: iter(()))
        after = registered_checks()
        assert [check.name for check in after] == names
        changed = [a.name for a, b in zip(before, after, strict=True) if a is not b]
        assert changed == ["labels"]
    finally:
        REGISTRY["before"]["labels"] = before[names.index("labels")]


def test_causes_come_before_their_effects():
    def places(when, *names):
        order = [check.name for check in registered_checks(when)]
        return [order.index(name) for name in names]

    before = places("before", "nonfinite-data", "symmetric-weights", "tiny-batch")
    during = places("during", "nonfinite", "rate-too-high", "dead-units", "plateau")
    assert before == sorted(before)
    assert during == sorted(during)


@pytest.mark.parametrize(
    "call",
    [
        lambda: register_check("x", when="after", looks_for="", advice=""),
        lambda: unregister_check("x", when="after"),
        lambda: registered_checks("after"),
    ],
)
def test_when_is_before_or_during(call):
    with pytest.raises(ValueError, match="when must be 'before' or 'during'"):
        call()


def test_an_unknown_name_cannot_be_unregistered():
    with pytest.raises(ValueError, match="name must be 'nonfinite-data' or"):
        unregister_check("nothing")


def test_each_check_is_explained():
    explained = list(explanations())
    assert explained == list(dict.fromkeys(check.name for check in BUILT_IN))
    for check in BUILT_IN:
        finding = check.finding("note", "")
        assert (
            finding.see == check.see == f"python -m keras_dnn.diagnostics {check.name}"
        )
        assert finding.explain() == explanations()[check.name]
        assert len(finding.explain()) > 20


def test_every_check_describes_itself():
    for check in BUILT_IN:
        assert check.looks_for
        assert check.advice.endswith(".")
        assert check.source or np.isnan(check.threshold)
