"""Checks the gradients of random networks, all right or one of them off by 1%.

Not part of `make bench`: it counts right verdicts, and the guide "When training goes
wrong" shows the table. Beside `check_gradients` stand other rules, on the same losses
in float64, the same gradients and the same coordinates. The networks of the recorded
run were drawn by seeds that were not used while the check was written.

    python benchmarks/compare_gradient_checks.py            ten minutes on one core
    python benchmarks/compare_gradient_checks.py --quick    eight networks, in runs/
    python benchmarks/compare_gradient_checks.py --draw     the table from the numbers
"""

import itertools
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import tensorflow as tf
from recording import record, versions

from keras_dnn._keras.patched import patched
from keras_dnn.diagnostics import check_gradients, gradient_check
from keras_dnn.diagnostics._gradients.central_differences import LossOfWeights
from tests.diagnostics.random_networks import network, some_weight

NETWORKS, FIRST_SEED = 200, 10_000
COORDINATES = 8

OURS = "`check_gradients`"
RULES = {
    OURS: "",
    "`tf.test.compute_gradient`, `assertAllClose`": "steps of 1/1024, 1e-6 + 1e-6 |n|",
    "`tf.test.compute_gradient`, looser": "steps of 1/1024, 1e-4",
    "rule of `torch.autograd.gradcheck`": "steps of 1e-6, 1e-5 + 1e-3 |n|",
    "relative error of each coordinate": "steps of 1e-5, 1e-4 max(|g|, |n|)",
}
"""The rules, and how far a gradient g may be from a numeric n."""


def restricted(loss, variable, entries):
    """The loss as a function of some entries of a variable, and their values."""
    weight = loss.weights[variable]
    before = np.array(weight.numpy())

    def value(entries_moved):
        moved = before.copy()
        moved.flat[entries] = entries_moved
        weight.assign(moved)
        try:
            return loss.value()
        finally:
            weight.assign(before)

    return value, before.ravel()[entries]


def by_tensorflow(value, start, gradient):
    """Both slopes, by TensorFlow's check."""

    @tf.custom_gradient
    def function(entries):
        def slopes(upstream, variables):
            # TensorFlow sees the weights, which only `value` moves.
            return upstream * gradient, [None for _ in variables]

        return tf.constant(value(entries), tf.float64), slopes

    (theory,), (numeric,) = tf.test.compute_gradient(function, [start])
    return theory, numeric


def by_step(value, start, step):
    """Central differences."""
    ways = step * np.eye(len(start))
    return np.array([(value(start + d) - value(start - d)) / (2 * step) for d in ways])


def verdicts(model, x, y, training):
    """Which rules pass this network, and the result of `check_gradients`."""
    losses = []

    def kept(*arguments):
        losses.append(LossOfWeights(*arguments))
        return losses[0]

    with patched(gradient_check, "LossOfWeights", kept):
        result = check_gradients(
            model, x, y, training=training, coordinates=COORDINATES, verbose=0
        )
    loss = losses[0]
    gradients = loss.gradients()
    passed = dict.fromkeys(RULES, True) | {OURS: result.passed}
    _, strict, loose, torch, relative = RULES
    for variable, entries in enumerate(result.coordinates):
        if not len(entries):
            continue
        g = gradients[variable][entries]
        value, start = restricted(loss, variable, entries)
        theory, numeric = by_tensorflow(value, start, g)
        passed[strict] &= np.allclose(theory, numeric, rtol=1e-6, atol=1e-6)
        passed[loose] &= bool(np.abs(theory - numeric).max() < 1e-4)
        n = by_step(value, start, 1e-6)
        passed[torch] &= np.allclose(g, n, rtol=1e-3, atol=1e-5)
        n = by_step(value, start, 1e-5)
        size = np.maximum(np.abs(g), np.abs(n))
        passed[relative] &= bool((np.abs(g - n) <= 1e-4 * size).all())
    return passed, result


def checked(seed):
    """What each rule says of a network, and of its twin with one wrong gradient.

    `None` for a network of dead units, through which nothing flows back.
    """
    model, x, y, training = network(seed)
    right_passes, right = verdicts(model, x, y, training)
    wrong = some_weight(right, seed)
    if wrong is None:
        return None
    model, x, y, training = network(seed, wrong)
    wrong_passes, found = verdicts(model, x, y, training)
    bad = np.flatnonzero(~(found.differences <= found.tolerance))
    return {
        "seed": seed,
        "coordinates": sum(map(len, right.coordinates)),
        "on_kinks": int(right.kinks.sum()),
        "named_it_alone": bad.tolist() == [wrong],
        "false_alarms": [rule for rule, passed in right_passes.items() if not passed],
        "missed": [rule for rule, passed in wrong_passes.items() if passed],
    }


def summary(rows):
    return {
        "versions": versions(),
        "networks": len(rows),
        "networks_with_kinks": sum(row["on_kinks"] > 0 for row in rows),
        **{
            name: sum(row[name] for row in rows)
            for name in ("coordinates", "on_kinks", "named_it_alone")
        },
        **{
            key: {
                rule: [row["seed"] for row in rows if rule in row[key]]
                for rule in RULES
            }
            for key in ("false_alarms", "missed")
        },
    }


def compare(quick):
    seeds = itertools.count(0 if quick else FIRST_SEED)
    rows = (row for row in map(checked, seeds) if row is not None)
    return summary(list(itertools.islice(rows, 8 if quick else NETWORKS)))


def write_table(results, folder):
    total = results["networks"]
    lines = [
        f"| rule | right, called wrong (of {total}) | 1% wrong, passed (of {total}) |",
        "|---|---|---|",
    ]
    for rule, allowed in RULES.items():
        name = f"{rule} ({allowed})" if allowed else f"**{rule}**"
        alarms, missed = (len(results[key][rule]) for key in ("false_alarms", "missed"))
        lines.append(f"| {name.replace('|', chr(92) + '|')} | {alarms} | {missed} |")
    file = folder.parent / "_data" / "gradient_checks.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*does not support masking.*")
    record("gradient_checks", "Gradients of random networks.", compare, write_table)
