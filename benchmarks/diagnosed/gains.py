"""What advice brings: each disease before and after, with three seeds."""

import inspect
import json
import math
import statistics

import keras
import numpy as np
import tensorflow as tf
from recording import versions, write

from diagnosed.all_cases import cases
from diagnosed.all_cures import CURES
from diagnosed.case import linked
from keras_dnn.diagnostics import preflight

SEEDS = 3


def score(made):
    """Of the validation data: accuracy of classes, or the explained variance."""
    x, y = made.validation
    found = np.float64(made.model.predict(x, batch_size=500, verbose=0))
    if found.shape[-1] > 1:
        return (found.argmax(axis=-1) == y).mean()
    y = np.float64(y)
    if len(np.unique(y)) == 2:
        # Half-way between the labels, which may be -1 and 1.
        middle = (y.max() + y.min()) / 2
        return ((found > middle) == (y > middle)).mean()
    return 1 - np.mean((found - y) ** 2) / np.var(y)


def trained_score(made):
    """The score after training, `None` where `fit` fails or ends in NaN."""
    settings = {"batch_size": 16, "verbose": 0, "epochs": made.epochs} | made.fit
    try:
        losses = made.model.fit(made.x, made.y, **settings).history["loss"]
    except (ValueError, tf.errors.OpError):
        return None
    return round(float(score(made)), 3) if math.isfinite(losses[-1]) else None


def left(made):
    """What `preflight` still warns of."""
    given = {}
    if "validation_data" in inspect.signature(preflight).parameters:
        given["validation_data"] = made.validation
    report = preflight(made.model, made.x, made.y, verbose=0, **given)
    return [f.name for f in report.findings if f.severity != "note"]


def measured(cure):
    """The scores before and after a cure, in the order of the seeds."""
    (sick,) = (case for case in cases("development") if case.name == cure.network)
    scores = {"sick": [], "cured": []}
    for seed in range(SEEDS):
        scores["sick"].append(trained_score(sick(seed)))
        scores["cured"].append(trained_score(cure.apply(sick(seed))))
        keras.backend.clear_session()
    return {
        "finding": cure.finding,
        "network": cure.network,
        "about": sick.about,
        "cure": cure.about,
        "left_after_the_cure": left(cure.apply(sick(0))),
        **scores,
    }


def record(file, networks):
    """Measures the cures of these networks, or of all, and draws the table."""
    known = json.loads(file.read_text("utf-8"))["cures"] if file.exists() else []
    found = {(case["finding"], case["network"]): case for case in known}
    for cure in CURES:
        if not networks or cure.network in networks:
            case = found[cure.finding, cure.network] = measured(cure)
            print(case, flush=True)
            # Each at once, so that a run that is interrupted is not lost.
            order = [(c.finding, c.network) for c in CURES]
            results = [found[key] for key in order if key in found]
            write({"versions": versions(), "cures": results}, file)
            file.with_suffix(".txt").write_text(table(results), "utf-8")


def middle(scores):
    """The median in percent."""
    value = statistics.median(-math.inf if s is None else s for s in scores)
    if value < 0:
        return "fails" if math.isinf(value) else "below 0"
    return f"{100 * value:.0f}"


def table(found):
    """As the guide includes it."""
    lines = ["| finding | network | what is done | before | after |", "|---" * 5 + "|"]
    for case in found:
        words = (
            linked(case["finding"]),
            case["about"].rstrip("."),
            case["cure"],
            middle(case["sick"]),
            middle(case["cured"]),
        )
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join([*lines, ""])
