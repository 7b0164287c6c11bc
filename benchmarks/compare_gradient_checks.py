"""Checks the gradients of random networks, all right or one of them off by 1%.

Not part of `make bench`: it counts right verdicts, and the guide "When training goes
wrong" shows the table. Beside `check_gradients` stand other rules, on the same losses
in float64, the same gradients and the same coordinates. The networks of the recorded
run were drawn by seeds that were not used while the check was written.

    python benchmarks/compare_gradient_checks.py            ten minutes on one core
    python benchmarks/compare_gradient_checks.py --quick    eight networks, in runs/
    python benchmarks/compare_gradient_checks.py --draw     the table from the numbers
"""

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
from keras_dnn.diagnostics._central_differences import Line, LossOfWeights
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


def by_tensorflow(loss, line, result):
    """Both slopes of the chosen coordinates of one variable, by TensorFlow's check."""
    entries = result.coordinates[line]
    gradient = loss.gradients()[line][entries]
    weight = loss.weights[line]

    @tf.custom_gradient
    def function(values):
        with loss.unchanged() as before:
            moved = before[line].copy()
            moved.flat[entries] = values
            weight.assign(moved)
            return tf.constant(loss.value()), lambda up: up * gradient

    start = np.array(weight.numpy()).ravel()[entries]
    return tf.test.compute_gradient(function, [start])


def by_step(loss, variable, result, step):
    """Central differences of the chosen coordinates of one variable."""
    with loss.unchanged() as before:
        slopes = []
        for entry in result.coordinates[variable]:
            line = Line(variable, int(entry))
            values = []
            for sign in (1, -1):
                moved = line.moved(before[variable], sign * step)
                loss.weights[variable].assign(moved)
                values.append(loss.value())
            slopes.append((values[0] - values[1]) / (2 * step))
            loss.weights[variable].assign(before[variable])
    return np.array(slopes)


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
        (theory,), (numeric,) = by_tensorflow(loss, variable, result)
        passed[strict] &= np.allclose(theory, numeric, rtol=1e-6, atol=1e-6)
        passed[loose] &= bool(np.abs(theory - numeric).max() < 1e-4)
        n = by_step(loss, variable, result, 1e-6)
        passed[torch] &= np.allclose(g, n, rtol=1e-3, atol=1e-5)
        n = by_step(loss, variable, result, 1e-5)
        size = np.maximum(np.abs(g), np.abs(n))
        passed[relative] &= bool((np.abs(g - n) <= 1e-4 * size).all())
    return passed, result


def compare(quick):
    seeds = range(8) if quick else range(FIRST_SEED, FIRST_SEED + NETWORKS)
    alarms, missed = ({rule: [] for rule in RULES} for _ in range(2))
    kinks = coordinates = with_kinks = named = 0
    for seed in seeds:
        model, x, y, training = network(seed)
        passed, right = verdicts(model, x, y, training)
        for rule in RULES:
            alarms[rule] += [] if passed[rule] else [seed]
        kinks += int(right.kinks.sum())
        with_kinks += bool(right.kinks.any())
        coordinates += sum(map(len, right.coordinates))
        wrong = some_weight(right, seed)
        model, x, y, training = network(seed, wrong)
        passed, found = verdicts(model, x, y, training)
        for rule in RULES:
            missed[rule] += [seed] if passed[rule] else []
        bad = np.flatnonzero(~(found.differences <= found.tolerance))
        named += bad.tolist() == [wrong]
        print(seed, right.passed, not found.passed, flush=True)
    return {
        "versions": versions(),
        "networks": len(seeds),
        "coordinates": coordinates,
        "on_kinks": kinks,
        "networks_with_kinks": with_kinks,
        "named_the_variable_and_no_other": named,
        "false_alarms": alarms,
        "missed": missed,
    }


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
