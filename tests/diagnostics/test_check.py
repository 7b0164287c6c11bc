"""A check runs its function and fills in what it knows of its findings."""

import dataclasses
import json

from keras_dnn.diagnostics import Check


def twice(examined, check):
    yield check.finding("note", f"Saw {examined}.", "model/a", number=1.5)
    yield check.finding("error", "Again.", advice="Run.")


CHECK = Check("mine", "nothing", "Rest.", twice, see="a page")


def test_it_gives_what_its_function_yields():
    first, second = CHECK.findings("a thing")
    assert (first.message, first.layer) == ("Saw a thing.", "model/a")
    assert first.evidence == {"number": 1.5}
    assert (second.severity, second.layer, second.evidence) == ("error", None, {})


def test_findings_carry_its_name_advice_and_reference():
    first, second = CHECK.findings(None)
    assert (first.name, first.advice, first.see) == ("mine", "Rest.", "a page")
    assert (second.name, second.advice) == ("mine", "Run.")


def test_without_a_threshold_nothing_lies_beyond_it():
    assert not CHECK.threshold < 1e300
    assert not CHECK.threshold > -1e300


def test_its_dict_is_ready_for_json():
    check = dataclasses.replace(CHECK, needs=bool)
    assert json.loads(json.dumps(check.to_dict()))["name"] == "mine"
    assert not {"find", "needs"} & check.to_dict().keys()


def test_whether_there_is_what_it_looks_at():
    assert CHECK.has_data(None)
    check = dataclasses.replace(CHECK, needs=len)
    assert check.has_data([1])
    assert not check.has_data([])
