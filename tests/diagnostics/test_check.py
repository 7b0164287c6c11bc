"""A check runs its function and fills in what it knows of its findings."""

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
