"""The border alarm: every kind of hyperparameter, at either edge, worked by hand."""

import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_dnn.tuning import border_alarm, log_uniform, one_minus_log_uniform
from tests.tuning.searching import searched


def alarm_of(folder, register, best, others=(), **options):
    """The alarm of a search whose trials came in this order, the best first."""
    tries = [dict([pair]) for pair in [best, *others]]

    def score(hp):
        register(hp)
        return float(tries.index(hp.values)) if hp.values in tries else 99.0

    return border_alarm(searched(score, folder, tries), **options)


def float_of(low, high, **options):
    return lambda hp: hp.Float("x", low, high, **options)


def int_of(low, high, **options):
    return lambda hp: hp.Int("x", low, high, **options)


def choice_of(*values, **options):
    return lambda hp: hp.Choice("x", list(values), **options)


# The next range is as wide on its scale, with the best value in the middle.
CASES = {
    "log, upper": (float_of(1e-4, 1e-1, sampling="log"), 0.1, (10**-2.5, 10**0.5)),
    "log, lower": (float_of(1e-4, 1e-2, sampling="log"), 1e-4, (1e-5, 1e-3)),
    "linear": (float_of(2.0, 4.0), 3.9, (2.9, 4.9)),
    "linear, below zero": (float_of(-1.0, 1.0), -0.9, (-1.9, 0.1)),
    "stays positive": (float_of(0.1, 1.1), 0.15, (0.0, 0.65)),
    "a fraction": (float_of(0.0, 0.5), 0.48, (0.23, 0.73)),
    "a fraction up to 1": (float_of(0.0, 0.9), 0.9, (0.45, 1.0)),
    "float with a step": (float_of(1.0, 3.0, step=0.5), 3.0, (2.0, 4.0)),
    "log with a step": (float_of(1.0, 1e4, step=10, sampling="log"), 1e4, (1e2, 1e6)),
    "reverse log": (float_of(1.0, 100.0, sampling="reverse_log"), 100.0, (91, 100.9)),
    "int, upper": (int_of(2, 6), 6, (4, 8)),
    "int, lower": (int_of(3, 9), 3, (1, 6)),
    "int, two values": (int_of(2, 3), 3, (2, 4)),
    "int with a step": (int_of(10, 50, step=10), 50, (30, 70)),
    "int with a step, lower": (int_of(20, 60, step=10), 20, (10, 40)),
    "int, log": (int_of(10, 1000, sampling="log"), 1000, (100, 10_000)),
    "int, log step": (int_of(8, 32, step=2, sampling="log"), 8, (4, 16)),
    "int, log step, odd": (int_of(6, 24, step=2, sampling="log"), 6, (3, 12)),
    "choice, doubling": (choice_of(16, 32, 64), 64, (32, 64, 128)),
    "choice, lower": (choice_of(16, 32, 64), 16, (8, 16, 32)),
    "choice, adding": (choice_of(0.1, 0.2, 0.3), 0.3, (0.2, 0.3, 0.4)),
    "choice, decreasing": (choice_of(0.1, 0.01, 0.001), 0.001, (1e-4, 1e-3, 1e-2)),
    "choice of fractions": (choice_of(0.0, 0.25, 0.5), 0.5, (0.25, 0.5, 0.75)),
}


@pytest.mark.parametrize("name", CASES)
def test_next_range_is_as_wide_and_centred_on_the_best(name, tmp_path):
    register, best, expected = CASES[name]
    alarm = alarm_of(tmp_path, register, ("x", best))
    (border,) = alarm.borders
    assert border.next_range == pytest.approx(expected, rel=1e-9)
    assert border.value == best
    (hp,) = alarm.space.space
    if name.startswith("choice"):
        assert sorted(hp.values) == pytest.approx(expected)
    else:
        assert (hp.min_value, hp.max_value) == pytest.approx(expected)
        assert type(hp.min_value) is type(best)
    assert hp.default == best
    assert hp.prob_to_value(0.999) is not None


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (float_of(1e-4, 1e-1, sampling="log"), 0.045),
        (float_of(0.0, 1.0), 0.11),
        (float_of(0.0, 0.5), 0.0),
        (float_of(0.0, 1.0), 1.0),
        (int_of(1, 6), 1),
        (int_of(0, 6), 0),
        (int_of(2, 6), 3),
        (int_of(5, 5), 5),
        (choice_of(1, 2, 3), 1),
        (choice_of(0.0, 0.5, 1.0), 1.0),
        (choice_of(16, 32, 64), 32),
        (choice_of(0, 1), 1),
        (choice_of(64, 16, 32), 64),
        (choice_of("a", "b", "c"), "c"),
        (choice_of(1, 2, 3, ordered=False), 3),
        (lambda hp: hp.Boolean("x"), True),
        (lambda hp: hp.Fixed("x", 3), 3),
    ],
)
def test_no_alarm_inside_a_range_at_a_limit_or_without_an_order(
    register, value, tmp_path
):
    alarm = alarm_of(tmp_path, register, ("x", value))
    assert not alarm
    assert "inside" in str(alarm)
    (hp,) = alarm.space.space
    assert hp.name == "x"


@pytest.mark.parametrize(("best", "side"), [(0.9988, "upper"), (0.901, "lower")])
def test_momentum_is_reported_itself_and_moved_by_its_distance_to_one(
    best, side, tmp_path
):
    momentum = one_minus_log_uniform("momentum", 0.9, 0.999)
    alarm = alarm_of(tmp_path, momentum, ("1 - momentum", 1 - best))
    (border,) = alarm.borders
    assert (border.name, border.side) == ("momentum", side)
    assert border.value == pytest.approx(best)
    assert border.searched == pytest.approx((0.9, 0.999))
    expected = 1 - (1 - best) * 10, 1 - (1 - best) / 10
    assert border.next_range == pytest.approx(expected, abs=1e-12)
    assert "log of 1 - x" in str(border)
    assert momentum(alarm.space) == pytest.approx(best)


def test_momentum_does_not_go_below_zero(tmp_path):
    momentum = one_minus_log_uniform("momentum", 0.5, 0.99)
    alarm = alarm_of(tmp_path, momentum, ("1 - momentum", 0.5))
    assert alarm.borders[0].next_range[0] == 0.0
    momentum = one_minus_log_uniform("momentum", 0.0, 0.99)
    assert not alarm_of(tmp_path, momentum, ("1 - momentum", 1.0))


def test_margin_is_a_fraction_of_the_decades(tmp_path):
    rate = log_uniform("x", 1e-4, 1.0)
    at = 10**-0.5  # An eighth of four decades from the upper end.
    assert not alarm_of(tmp_path, rate, ("x", at), margin=0.124)
    assert alarm_of(tmp_path, rate, ("x", at), margin=0.126)


def test_counts_how_many_of_the_best_five_agree(tmp_path):
    others = [("x", value) for value in (0.76, 0.74, 0.9, 0.1, 0.99)]
    alarm = alarm_of(tmp_path, float_of(0.2, 1.0), ("x", 0.98), others)
    (border,) = alarm.borders
    # The last quarter of the range begins at 0.8; the sixth trial is not checked.
    assert (border.agreeing, border.checked) == (2, 5)
    assert "2 of the best 5 trials" in str(alarm)


def test_best_is_the_highest_where_the_objective_says_so(tmp_path):
    import keras_tuner

    class Upwards(keras_tuner.RandomSearch):
        def run_trial(self, trial, **options):
            return {"accuracy": trial.hyperparameters.Float("x", 0.2, 1.0)}

    search = Upwards(
        objective=keras_tuner.Objective("accuracy", "max"),
        max_trials=10,
        directory=tmp_path,
    )
    search.search(verbose=0)
    alarm = border_alarm(search.oracle, margin=0.3)
    assert alarm.borders[0].side == "upper"
    assert alarm.objective == "accuracy"
    assert (np.diff(alarm.scores) <= 0).all()
    np.testing.assert_array_equal(alarm.values["x"], alarm.scores)


def test_only_trials_with_the_hyperparameter_count(tmp_path):
    def score(hp):
        rule = hp.Choice("rule", ["sgd", "momentum"])
        with hp.conditional_scope("rule", ["momentum"]):
            momentum = hp.Float("momentum", 0.1, 0.9)
        return 0.0 if rule == "sgd" else 1.0 - momentum

    tries = [
        {"rule": "sgd"},
        {"rule": "momentum", "momentum": 0.89},
        {"rule": "momentum", "momentum": 0.5},
    ]
    alarm = border_alarm(searched(score, tmp_path, tries))
    assert [border.name for border in alarm.borders] == ["momentum"]
    np.testing.assert_array_equal(alarm.values["momentum"], [np.nan, 0.89, 0.5])
    (moved,) = [hp for hp in alarm.space.space if hp.name == "momentum"]
    assert moved.conditions


def test_failed_trials_do_not_count(tmp_path):
    def score(hp):
        x = hp.Float("x", 0.2, 1.0)
        return float("nan") if x > 0.9 else 1.0 - x

    tries = [{"x": x} for x in (0.95, 0.6, 0.4)]
    alarm = border_alarm(searched(score, tmp_path, tries))
    assert alarm.scores == pytest.approx([0.4, 0.6])
    assert not alarm


def test_the_next_search_stays_in_the_moved_range(tmp_path):
    rate = log_uniform("rate", 1e-4, 1e-2)
    momentum = one_minus_log_uniform("momentum", 0.9, 0.99)

    def score(hp):
        return np.log(rate(hp) / 0.5) ** 2 + np.log((1 - momentum(hp)) / 0.03) ** 2

    first = searched(score, tmp_path / "a", max_trials=15, seed=1)
    alarm = border_alarm(first)
    assert [border.name for border in alarm.borders] == ["rate"]
    second = searched(
        score, tmp_path / "b", max_trials=15, seed=1, hyperparameters=alarm.space
    )
    tried = border_alarm(second)
    low, high = alarm.borders[0].next_range
    assert ((low <= tried.values["rate"]) & (tried.values["rate"] <= high)).all()
    assert (tried.values["rate"] > 1e-2).any()
    assert tried.scores[0] < alarm.scores[0]
    # The range of the other stays, and nothing of the first search is changed.
    inner = {hp.name: hp for hp in second.oracle.get_space().space}
    assert inner["1 - momentum"].max_value == pytest.approx(0.1)
    assert len(inner) == 2
    assert first.oracle.get_space().space[0].max_value == 1e-2


def test_dict_is_ready_for_json_and_plot_shows_the_trials(tmp_path):
    alarm = alarm_of(
        tmp_path, log_uniform("x", 1e-4, 1e-1), ("x", 0.09), [("x", 0.01), ("x", 0.02)]
    )
    found = json.loads(json.dumps(alarm.to_dict()))
    assert found["borders"][0]["side"] == "upper"
    assert found["space"]["space"][0]["config"]["name"] == "x"
    figure = alarm.plot()
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    drawn = np.concatenate([line.get_xdata() for line in ax.lines])
    assert {0.09, 0.01, 0.02} <= set(drawn.tolist())
    plt.close(figure)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tuner must be a tuner of KerasTuner"):
        border_alarm(3)
    search = searched(lambda hp: hp.Float("x", 0, 1), tmp_path, max_trials=2)
    with pytest.raises(ValueError, match=r"margin must be a number in \[0, 0.5\)"):
        border_alarm(search, margin=0.5)
    search.oracle.trials.clear()
    with pytest.raises(ValueError, match="must have completed a trial"):
        border_alarm(search)


def test_without_keras_tuner_the_error_names_the_extra(tmp_path, monkeypatch):
    search = searched(lambda hp: hp.Float("x", 0, 1), tmp_path, max_trials=2)
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    with pytest.raises(ImportError, match=r"KerasTuner.*keras_dnn\[tuning\]"):
        border_alarm(search)
