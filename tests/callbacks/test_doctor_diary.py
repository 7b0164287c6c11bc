"""What a doctor found in earlier epochs stays in its report."""

import dataclasses
import json

import keras
import numpy as np

from keras_dnn.callbacks import Doctor
from keras_dnn.callbacks._doctor.diary import Diary
from keras_dnn.diagnostics import Finding, Report, register_check, unregister_check


def finding(name, severity="warning", **changes):
    return Finding(name, severity, "a/b", "It is so.", {"n": 1.5}, "Do.", "", **changes)


def entered(*epochs):
    diary = Diary()
    new = [
        [f.name for f in diary.enter(found, epoch)]
        for epoch, found in enumerate(epochs, start=1)
    ]
    return diary, new


def test_a_finding_is_new_once_and_passes():
    a, b = finding("a"), finding("b")
    diary, new = entered([a], [a, b], [b], [a, b])
    assert new == [["a"], ["b"], [], []]
    assert [(f.name, f.epoch) for f in diary.dated([b, a])] == [("b", 2), ("a", 1)]
    (passed,) = diary.passed([b])
    assert (passed.name, passed.epoch, passed.last_epoch) == ("a", 1, 4)
    assert not diary.passed([a, b])


def test_a_note_is_not_kept_but_prolongs_a_warning():
    warning, note = finding("a"), finding("a", "note")
    diary, new = entered([note], [warning], [note], [])
    assert new == [[], ["a"], [], []]
    (passed,) = diary.passed([])
    assert (passed.severity, passed.epoch, passed.last_epoch) == ("warning", 2, 3)
    assert diary.dated([finding("c")])[0].epoch is None


def test_it_outlives_the_process():
    diary, _ = entered([finding("a")], [finding("b")])
    again = Diary(json.loads(json.dumps(diary.to_json())))
    assert again.passed([]) == diary.passed([])
    assert not again.enter([finding("a")], 3)


def test_the_report_says_when():
    now = finding("a", epoch=2)
    past = finding("b", epoch=1, last_epoch=3)
    report = Report("m", (now,), ("a", "b"), passed=(past, finding("c", epoch=2)))
    assert "warning: a in a/b, since epoch 2\n" in str(report)
    assert "passed: b in a/b, epochs 1 to 3" in str(report)
    only = dataclasses.replace(past, last_epoch=1)
    shown = str(dataclasses.replace(report, passed=(only,)))
    assert "passed: b in a/b, epoch 1 only" in shown
    # What has passed is not wrong any more.
    dataclasses.replace(report, findings=()).assert_healthy()


def test_a_doctor_keeps_what_has_passed(capsys):
    @register_check("young", when="during", looks_for="two epochs", advice="Wait.")
    def young(history, check):
        if len(history.epoch_losses) < 3:
            yield check.finding("warning", "There are less than three epochs.")

    try:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        doctor = Doctor()
        x = np.ones((8, 2), "float32")
        model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[doctor])
        (named,) = doctor.report.named("young")
        assert (named.epoch, named.last_epoch) == (1, None)
        model.fit(x, x[:, :1], epochs=3, initial_epoch=2, verbose=0, callbacks=[doctor])
    finally:
        unregister_check("young", when="during")
    assert not doctor.report.named("young")
    (passed,) = doctor.report.passed
    assert (passed.name, passed.epoch, passed.last_epoch) == ("young", 1, 2)
    assert capsys.readouterr().out.count("young") == 1
