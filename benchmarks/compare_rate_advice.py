"""What following the advice of `find_learning_rate` costs, and that of other rules.

Not part of `make bench`: the guide to the learning rate shows the table.

Each task of `rate_tasks` is trained at every quarter decade of rates that matters, at a
constant rate, with one cycle and with a cosine decay. A rule loses as many points as
the score at its rate, interpolated between those of the grid, is below the best. It
loses ten, the most that is counted, where it says nothing.

Half of the tasks, drawn by a seed, chose the numbers in the rules; the others were
looked at once.

    python benchmarks/compare_rate_advice.py            an hour on one core
    python benchmarks/compare_rate_advice.py --quick    two tasks, in `runs/`
    python benchmarks/compare_rate_advice.py --draw     the tables, from the numbers

The trainings are kept in `runs/rate_trainings`: where only a rule has changed, what
follows takes five minutes.
"""

import json
import re
from types import SimpleNamespace

import keras
import numpy as np
from rate_rivals import DEFAULTS, fastai_valley, lightning
from rate_tasks import DRAW, TASKS, choosing
from rate_trainings import SHAPES, Trainer, scores_by_rate
from recording import ROOT, record, versions

from keras_dnn.tuning import _range_test_places as places
from keras_dnn.tuning import find_learning_rate
from keras_dnn.tuning._range_test_result import read
from keras_dnn.tuning._short_trainings import ShortTraining, rates_around, refined
from keras_dnn.tuning._sweep_recorder import SweepRecorder

TRAININGS = ROOT / "runs" / "rate_trainings"
STEPS = (100, 200, 400)
SEEDS = (11, 12, 13)
MOST = 10.0
"""The most points that are counted as lost."""

RULES = {
    "find_learning_rate": "**`suggestion`, `max_learning_rate`**",
    "through fit": "the same through `fit`, one sweep a task",
    "trials": "**with `trials=3`**",
    "valley": "the valley, 200 steps",
    "slide": "the slide, 200 steps",
    "steepest": "the steepest place, 200 steps",
    "minimum": "a tenth of the minimum, 200 steps",
    "fastai": "fastai's valley, 100 steps",
    "lightning": "Lightning's, 100 steps",
    "Keras": "Keras's default rates",
    "one seed": "the best rate of a grid, by one seed",
}


# Trainings ----------------------------------------------------------------------------


def scores(name, trainer):
    """The scores of a task by rate, trained unless they are known."""
    file = TRAININGS / f"{re.sub('[^a-z0-9]+', '_', name.lower())}.json"
    if file.exists():
        return json.loads(file.read_text("utf-8"))["scores"]
    # In eighths of a decade: 0.001 and 0.03.
    start, found = (-24 if trainer.task.adaptive else -12), {}
    for shape in SHAPES:
        found[shape] = scores_by_rate(trainer, shape, start)
        best = max(found[shape], key=lambda at: np.mean(at["scores"]))
        start = 4 * round(2 * np.log10(best["rate"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"scores": found}), "utf-8")
    return found


# Advice -------------------------------------------------------------------------------


def replayed(kind, rates, losses):
    """A recorder of the library with these losses, up to where it ends a sweep."""
    recorder = kind(len(rates), 1, 0.98, 4.0, None)
    ends = (i for i in range(1, len(rates) + 1) if recorder._diverges(losses[:i]))
    end = next(ends, len(rates))
    rows = np.column_stack([rates, losses, losses])[:end]
    recorder._rows = SimpleNamespace(rows=rows)
    return recorder


def swept(trainer, seed, steps, low=1e-7, high=10.0):
    """The losses of a sweep, and what the library reads from them."""
    rates = np.geomspace(low, high, steps)
    losses = trainer.run(rates, 0.9, seed).astype("float64")
    recorder = replayed(SweepRecorder, rates, losses)
    adaptive = trainer.task.adaptive
    options = {"steps": steps, "adaptive": adaptive}
    return rates, losses, read(recorder, "exponential", 0.98, seed, **options)


def with_trials(trainer, found, seed, steps, trials=3):
    """The result of the library after short trainings."""
    if found.suggestion is None:
        return found
    losses = {}
    for rate in rates_around(found.suggestion, trials):
        rates = np.full(2 * steps, rate)
        trained = trainer.run(rates, 0.9, seed).astype("float64")
        losses[rate] = replayed(ShortTraining, rates, trained).loss()
    return refined(found, losses)


def advised(trainer):
    """The rates that each rule gives: of each sweep, for a constant one and a peak."""

    def both(found):
        return [found.suggestion, found.max_learning_rate]

    advice = {name: [] for name in RULES}
    moved = {f"{name}, {steps}": [] for name in ("advice", "valley") for steps in STEPS}
    for seed in SEEDS:
        for steps in STEPS:
            rates, losses, found = swept(trainer, seed, steps)
            moved[f"advice, {steps}"].append(found.suggestion)
            moved[f"valley, {steps}"].append(found.suggestions.get("valley"))
            if steps == 100:
                advice["fastai"].append([fastai_valley(rates, losses)] * 2)
                advice["lightning"].append([lightning(rates, losses)] * 2)
            if steps == 200:
                advice["find_learning_rate"].append(both(found))
                refined = with_trials(trainer, found, seed, steps)
                advice["trials"].append(both(refined))
                for name in places.PLACES:
                    advice[name].append([found.suggestions.get(name)] * 2)
    task = trainer.task
    advice["Keras"] = [[DEFAULTS.get(task.optimizer, 0.001)] * 2]
    advice["through fit"] = [both(through_fit(task, trainer.data))]
    return advice, moved


def through_fit(task, data):
    keras.utils.set_random_seed(14)
    model = task.network()
    model.compile(task.make_optimizer(), task.loss)
    (x, y), _ = data
    return find_learning_rate(
        model, x, y, batch_size=task.batch_size, seed=14, verbose=0
    )


def without_learning(trainer):
    """Whether sweeps of rates that are far too low for learning give advice."""
    found = [swept(trainer, seed, 200, 1e-12, 1e-8)[2] for seed in SEEDS]
    return [result.suggestion is not None for result in found]


# Points lost --------------------------------------------------------------------------


def lost(grid, rate):
    """How many points a rate is worse than the best one."""
    if rate is None:
        return MOST
    rates = np.log10([at["rate"] for at in grid])
    means = np.array([np.mean(at["scores"]) for at in grid])
    best = max(np.mean(at["scores"]) for at in grid if len(at["scores"]) > 1)
    points = best - np.interp(np.log10(rate), rates, means)
    return float(np.clip(points, 0, MOST))


def by_one_seed(grid):
    """The points lost by the best rate of one seed, judged by the others."""
    repeated = [at["scores"] for at in grid if len(at["scores"]) > 1]
    shared = np.array([s[: min(map(len, repeated))] for s in repeated])
    points = []
    for seed in range(shared.shape[1]):
        others = np.delete(shared, seed, axis=1).mean(axis=1)
        points.append(others.max() - others[np.argmax(shared[:, seed])])
    return [round(float(min(p, MOST)), 3) for p in points]


def compare(quick):
    names = list(TASKS)[1:3] if quick else list(TASKS)
    known = choosing()
    found = []
    for name in names:
        task = TASKS[name]
        trainer = Trainer(task, task.data())
        grids = scores(name, trainer)
        advice, moved = advised(trainer)
        points = {
            rule: {
                shape: [
                    round(lost(grids[shape], pair[shape != "constant"]), 3)
                    for pair in given
                ]
                for shape in SHAPES
            }
            for rule, given in advice.items()
        }
        points["one seed"] = {shape: by_one_seed(grids[shape]) for shape in SHAPES}
        found.append(
            {
                "name": name,
                "half": "choosing" if name in known else "unseen",
                "optimizer": task.optimizer,
                "rows": trainer.rows,
                "steps": trainer.steps,
                "advice": advice["find_learning_rate"],
                "advice of trials": advice["trials"],
                "moved": moved,
                "advice without learning": without_learning(trainer),
                "lost": points,
                "scores": {
                    shape: [[at["rate"], *at["scores"]] for at in grid]
                    for shape, grid in grids.items()
                },
            }
        )
        ours = {s: np.mean(p).round(2) for s, p in points["find_learning_rate"].items()}
        print(f"{found[-1]['half']:9} {name:24} {ours}", flush=True)
        keras.backend.clear_session()
    return {"draw": DRAW, "versions": versions(), "tasks": found}


# The tables ---------------------------------------------------------------------------


def points_table(tasks):
    """Points lost by each rule: median, mean, and how many sweeps lose less than 2."""
    lines = [
        "| rule | constant rate | 1-cycle | cosine decay |",
        "|---|---|---|---|",
    ]
    for rule, label in RULES.items():
        cells = [label]
        for shape in SHAPES:
            each = np.concatenate([task["lost"][rule][shape] for task in tasks])
            cells.append(
                f"{np.median(each):.2f} / {each.mean():.2f} / {np.mean(each < 2):.0%}"
            )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def moved_table(tasks):
    """The suggestion over that of 200 steps: median, and eight of ten tasks."""
    lines = ["| | 100 steps | 400 steps |", "|---|---|---|"]
    for name, label in (("advice", "**`suggestion`**"), ("valley", "the valley")):
        cells = [label]
        for steps in (100, 400):
            ratios = [
                a / b
                for task in tasks
                for a, b in zip(
                    task["moved"][f"{name}, {steps}"],
                    task["moved"][f"{name}, 200"],
                    strict=True,
                )
                if a and b
            ]
            low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def draw(numbers, figures):
    """The tables of the guide, instead of figures."""
    tasks = numbers["tasks"]
    lines = []
    for half, title in (
        ("unseen", "the unseen half"),
        ("choosing", "the half that chose the numbers"),
    ):
        some = [task for task in tasks if task["half"] == half]
        if not some:
            continue
        curves = [pair for task in some for pair in task["advice"]]
        silent = sum(pair[0] is None for pair in curves)
        wrong = [said for task in some for said in task["advice without learning"]]
        lines += [
            f"Points lost on {title}, {len(some)} tasks",
            "(median / mean / sweeps that lose less than 2):",
            "",
            *points_table(some),
            "",
            f"No suggestion on {silent} of {len(curves)} sweeps where it learns;",
            f"a suggestion on {sum(wrong)} of {len(wrong)} sweeps from 1e-12 to 1e-8,",
            "where nothing is learnt.",
            "",
        ]
    lines += [
        "The suggestion as a multiple of that of 200 steps",
        "(median, and the middle 80% of all sweeps):",
        "",
        *moved_table(tasks),
        "",
    ]
    text = "\n".join(lines)
    file = figures.parent / "_data" / "rate_advice.txt"
    file.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    record("rate_advice", __doc__.split("\n")[0], compare, draw)
