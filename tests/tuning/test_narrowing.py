"""Coarse to fine: narrower ranges, worked by hand."""

import keras_tuner
import numpy as np
import pytest

from keras_dnn.tuning import log_uniform, narrow, one_minus_log_uniform
from tests.tuning.searching import Search, searched


def narrowed(folder, register, values, name="x", **options):
    """The range after a search whose trials came in this order, the best first."""
    tries = [{name: value} for value in values]

    def score(hp):
        register(hp)
        return (
            float(values.index(hp.values[name])) if hp.values[name] in values else 9.0
        )

    return narrow(searched(score, folder, tries), **options).space[0]


def ends(hp):
    return hp.min_value, hp.max_value


def test_log_range_keeps_a_fraction_of_its_decades(tmp_path):
    rate = log_uniform("x", 1e-4, 1e-1)
    hp = narrowed(tmp_path, rate, [1e-2, 10**-1.9, 10**-2.1], factor=3)
    assert ends(hp) == pytest.approx((10**-2.5, 10**-1.5))
    assert (hp.sampling, hp.default) == ("log", 1e-2)
    hp = narrowed(tmp_path, rate, [1e-2], factor=6)
    assert ends(hp) == pytest.approx((10**-2.25, 10**-1.75))


def test_distance_to_one_keeps_a_fraction_of_its_decades(tmp_path):
    momentum = one_minus_log_uniform("momentum", 0.9, 0.9999)
    hp = narrowed(tmp_path, momentum, [0.005], "1 - momentum", factor=3)
    assert ends(hp) == pytest.approx((0.005 / 10**0.5, 0.005 * 10**0.5))


def test_linear_range_keeps_a_fraction_of_its_width(tmp_path):
    hp = narrowed(tmp_path, lambda hp: hp.Float("x", 0, 10), [4.0], factor=4)
    assert ends(hp) == pytest.approx((2.75, 5.25))


def test_the_middle_is_the_median_of_the_best_few(tmp_path):
    def register(hp):
        hp.Float("x", 0, 10)

    values = [4.0, 4.5, 5.0, 9.0, 9.5, 9.9]
    assert ends(narrowed(tmp_path, register, values, factor=5)) == pytest.approx((4, 6))
    hp = narrowed(tmp_path, register, values, factor=5, best=3)
    assert ends(hp) == pytest.approx((3.5, 5.5))
    hp = narrowed(tmp_path, register, values, factor=2)
    assert ends(hp) == pytest.approx((2.5, 7.5))
    # The best itself stays inside.
    hp = narrowed(tmp_path, register, values, factor=20)
    assert ends(hp) == pytest.approx((4.0, 4.5))


def test_new_range_stays_in_the_old_one_and_warns_of_its_edge(tmp_path):
    def register(hp):
        hp.Float("x", 0.0, 10.0)

    with pytest.warns(UserWarning, match="value of x lies at the edge .* border_al"):
        hp = narrowed(tmp_path, register, [9.8], factor=4)
    assert ends(hp) == pytest.approx((7.5, 10.0))
    # At a limit there is nothing beyond to warn of.
    assert ends(narrowed(tmp_path, register, [0.1], factor=4)) == pytest.approx(
        (0, 2.5)
    )


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        ({"min_value": 1, "max_value": 10}, [5], (3, 7)),
        ({"min_value": 1, "max_value": 4}, [3], (2, 4)),
        ({"min_value": 32, "max_value": 512, "step": 32}, [128], (32, 224)),
        (
            {"min_value": 16, "max_value": 256, "step": 2, "sampling": "log"},
            [64],
            (32, 128),
        ),
        ({"min_value": 10, "max_value": 1000, "sampling": "log"}, [100], (46, 216)),
    ],
)
def test_whole_numbers_stay_whole_and_keep_their_neighbours(
    options, values, expected, tmp_path
):
    hp = narrowed(tmp_path, lambda hp: hp.Int("x", **options), values, factor=3)
    assert ends(hp) == expected
    assert type(hp.min_value) is int
    assert hp.step == options.get("step", None if "sampling" in options else 1)


def test_lists_keep_the_neighbours_and_strings_the_best_values(tmp_path):
    sizes = [8, 16, 32, 64, 128]
    hp = narrowed(tmp_path, lambda hp: hp.Choice("x", sizes), [32], factor=4)
    assert hp.values == [16, 32, 64]
    rules = ["sgd", "adam", "nadam", "rmsprop"]
    hp = narrowed(
        tmp_path, lambda hp: hp.Choice("x", rules), ["nadam", "sgd", "adam"], best=2
    )
    assert (hp.values, hp.default) == (["sgd", "nadam"], "nadam")


def test_values_of_another_list_do_not_count(tmp_path):
    sizes = {"values": [8, 16, 32, 64]}

    def score(hp):
        return float(hp.Choice("x", sizes["values"]) != 8)

    searched(score, tmp_path, [{"x": 8}, {"x": 32}])
    sizes["values"] = [16, 32, 64]
    later = Search(score, tmp_path, [{"x": 8}, {"x": 32}], overwrite=False)
    later.oracle.hyperparameters = keras_tuner.HyperParameters()
    score(later.oracle.hyperparameters)
    hp = narrow(later, factor=4).space[0]
    assert (hp.values, hp.default) == ([16, 32, 64], 32)


def test_booleans_are_fixed_if_the_best_few_agree(tmp_path):
    def score(hp):
        return hp.Float("x", 0, 1) + hp.Boolean("norm")

    tries = [{"x": x / 10, "norm": x > 4} for x in range(1, 9)]
    search = searched(score, tmp_path, tries)
    space = narrow(search, best=3)
    assert [type(hp).__name__ for hp in space.space] == ["Float", "Fixed"]
    assert space["norm"] is False
    assert type(narrow(search, best=6).space[1]).__name__ == "Boolean"


def test_fine_search_stays_in_the_new_ranges_and_finds_better(tmp_path):
    rate = log_uniform("rate", 1e-5, 1.0)
    momentum = one_minus_log_uniform("momentum", 0.5, 0.999)

    def score(hp):
        units = hp.Int("units", 10, 200, step=10)
        norm = hp.Boolean("norm")
        return float(
            np.log(rate(hp) / 0.02) ** 2
            + np.log((1 - momentum(hp)) / 0.03) ** 2
            + (units / 90 - 1) ** 2
            + norm
        )

    coarse = searched(score, tmp_path / "coarse", max_trials=40, seed=3)
    space = narrow(coarse, 3)
    fine = searched(
        score, tmp_path / "fine", max_trials=40, seed=3, hyperparameters=space
    )
    ranges = {hp.name: hp for hp in space.space}
    for trial in fine.oracle.trials.values():
        values = trial.hyperparameters.values
        assert ends(ranges["rate"])[0] <= values["rate"] <= ends(ranges["rate"])[1]
        assert values["units"] in range(ranges["units"].min_value, 201, 10)
        assert set(values) == {"rate", "1 - momentum", "units", "norm"}
    best = [search.oracle.get_best_trials()[0].score for search in (coarse, fine)]
    assert best[1] < best[0]
    finer = narrow(fine, 2)
    width = np.log(np.divide(*ends({hp.name: hp for hp in finer.space}["rate"])[::-1]))
    assert width == pytest.approx(np.log(1e5) / 6)


def test_a_branch_that_was_never_tried_stays_as_it_was(tmp_path):
    def score(hp):
        rule = hp.Choice("rule", ["sgd", "momentum"])
        with hp.conditional_scope("rule", ["momentum"]):
            hp.Float("momentum", 0.1, 0.9)
        return float(rule == "momentum")

    space = narrow(searched(score, tmp_path, [{"rule": "sgd"}]))
    assert ends(space.space[1]) == (0.1, 0.9)
    assert space.space[1].conditions
    assert "momentum" not in space.values


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"factor": 1.0}, r"factor must be a number in \(1, inf\)"),
        ({"best": 0}, "best"),
    ],
)
def test_bad_arguments_are_refused(options, word, tmp_path):
    search = searched(lambda hp: hp.Float("x", 0, 1), tmp_path, max_trials=1)
    with pytest.raises(ValueError, match=word):
        narrow(search, **options)
