"""What `preflight` and `Doctor` report of networks with a known disease, or none.

Not part of `make bench`: it counts right diagnoses, and the guide "When training goes
wrong" shows the table.

The networks are in `diagnosed`, each in one of two halves that a seed has drawn. Those
who write and tune checks look at the development half only. The unseen half is run once
when they are done.

    python benchmarks/compare_diagnoses.py --half development   four minutes on one core
    python benchmarks/compare_diagnoses.py --only fraud dice --print
                                                           these, nothing is recorded
    python benchmarks/compare_diagnoses.py --draw          the table from the numbers
"""

import argparse
import collections
import inspect
import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
from diagnosed.all_cases import cases
from diagnosed.case import DRAW, HALVES, linked
from recording import ROOT, versions

from keras_dnn.callbacks import Doctor
from keras_dnn.diagnostics import preflight

NUMBERS = ROOT / "docs" / "_data" / "diagnoses.json"


# One diagnosis ------------------------------------------------------------------------


def before(made):
    """The report of `preflight`."""
    given = {"sample_weight": made.sample_weight, "verbose": 0}
    if "validation_data" in inspect.signature(preflight).parameters:
        given["validation_data"] = made.validation
    return preflight(made.model, made.x, made.y, **given)


def during(made):
    """The report of a `Doctor` that has watched the training."""
    arrays = made.y is not None
    doctor = Doctor((made.x, made.y) if arrays else made.x, every=4, verbose=0)
    made.model.fit(
        made.x,
        made.y,
        sample_weight=made.sample_weight,
        epochs=made.epochs,
        validation_data=made.validation,
        verbose=0,
        callbacks=[doctor],
        **({"batch_size": 16} if arrays else {}) | made.fit,
    )
    return doctor.report


EXAMINERS = {"preflight": before, "Doctor": during}


def examined(case, half, show=False):
    """What was said of a network: the first finding, and all worse than a note."""
    first, worse = {}, {}
    started = time.process_time()
    made = case()
    for by in EXAMINERS if case.by == "both" else (case.by,):
        with warnings.catch_warnings():
            # Keras warns of some of the diseases.
            warnings.simplefilter("ignore")
            report = EXAMINERS[by](made)
        first[by] = report.findings[0].name if report.findings else ""
        worse[by] = [f.name for f in report.findings if f.severity != "note"]
        if show:
            print(f"\n{case.name}: {case.about}\n{report}\n")
    keras.backend.clear_session()
    right = first[case.by] in case.answers if case.answers else not any(worse.values())
    return {
        "half": half,
        "group": case.group,
        "name": case.name,
        "sick": bool(case.answers),
        "first": first,
        "worse": worse,
        "right": right,
        "seconds": round(time.process_time() - started, 1),
    }


def word(case):
    return "sick" if case.answers else "healthy"


def compare(half, only, show):
    """The networks of a half that are wanted, examined."""
    for case in cases(half):
        if only and not {case.name, case.group, case.by, word(case)} & only:
            continue
        found = examined(case, half, show)
        mark = "" if found["right"] else f"   WRONG: {found['first']} {found['worse']}"
        if mark and case.answers:
            mark += f", not {' or '.join(sorted(case.answers))}"
        what = f"{half:11} {case.group:24} {case.name:38}"
        print(f"{what} {found['seconds']:5.1f} s{mark}", flush=True)
        yield found


def recorded():
    return json.loads(NUMBERS.read_text("utf-8"))["cases"] if NUMBERS.exists() else []


def record(found):
    """Replaces what was recorded of these networks."""
    known = {case["name"]: case for case in recorded()}
    known |= {case["name"]: case for case in found}
    results = sorted(known.values(), key=lambda c: (c["half"], c["sick"], c["group"]))
    # A case a line, so that a change shows what has changed.
    lines = ",\n".join(f"    {json.dumps(case)}" for case in results)
    head = json.dumps({"draw": DRAW, "versions": versions()}, indent=2)[:-2]
    NUMBERS.write_text(f'{head},\n  "cases": [\n{lines}\n  ]\n}}\n', "utf-8")


# The table ----------------------------------------------------------------------------


def count_right(found):
    return f"{sum(c['right'] for c in found)} of {len(found)}" if found else "–"


def table(results):
    """Diseases and families of healthy networks, as the guide includes them."""
    lines = []
    for sick, title, what in (
        (True, "disease", "named first"),
        (False, "healthy networks", "no warning"),
    ):
        groups = collections.defaultdict(lambda: {half: [] for half in HALVES})
        for case in results:
            if case["sick"] is sick:
                groups[case["group"]][case["half"]].append(case)
                groups["**all**"][case["half"]].append(case)
        groups["**all**"] = groups.pop("**all**")
        lines += ["", f"| {title} | {what}: development | {what}: unseen |"]
        lines.append("|---|---|---|")
        for name, halves in groups.items():
            label = linked(name) if sick else name
            counts = " | ".join(count_right(halves[half]) for half in HALVES)
            lines.append(f"| {label} | {counts} |")
    return "\n".join([*lines[1:], ""])


def main():
    parser = argparse.ArgumentParser(description="Right diagnoses, counted.")
    parser.add_argument("--half", nargs="+", choices=HALVES, default=HALVES[:1])
    parser.add_argument("--only", nargs="+", help="names of networks, groups, sick")
    parser.add_argument("--print", action="store_true", help="reports; record nothing")
    parser.add_argument("--draw", action="store_true", help="only the table")
    given = parser.parse_args()
    if not given.draw:
        found = []
        for half in given.half:
            for case in compare(half, set(given.only or ()), given.print):
                found.append(case)
                if not given.print:
                    # Each at once, so that a run that is interrupted is not lost.
                    record([case])
        for sick in (True, False):
            some = [case for case in found if case["sick"] is sick]
            print(f"{'sick' if sick else 'healthy'}: {count_right(some)}")
        if given.print:
            return
    NUMBERS.with_suffix(".txt").write_text(table(recorded()), "utf-8")
    print(table(recorded()))


if __name__ == "__main__":
    main()
