"""What `preflight` and `Doctor` report of networks with a known problem, or none.

Not part of `make bench`: it counts right diagnoses, and the guide "When training goes
wrong" shows the table.

The networks are those of the tests, for which thresholds were chosen. So each is also
made with other random weights and data; the last seed was counted once, when the rules
were final. Some healthy networks that are too large for the tests are added.

    python benchmarks/compare_diagnoses.py                  an hour on one core
    python benchmarks/compare_diagnoses.py --seeds 2 --by preflight --healthy
    python benchmarks/compare_diagnoses.py --only U-Net plateau
                                                            a part again; the rest stays
    python benchmarks/compare_diagnoses.py --draw           the table from the numbers
"""

import argparse
import collections
import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import numpy as np
from recording import ROOT, versions

from keras_dnn.callbacks import Doctor
from keras_dnn.diagnostics import preflight
from tests.callbacks import doctor_cases
from tests.diagnostics import networks, sick_networks

layers = keras.layers
TESTED, UNSEEN = 1, (2, 3)


# Healthy networks that are too large for the tests ------------------------------------


def images(size, rows=networks.ROWS):
    rng = np.random.default_rng(networks.SEED)
    patterns = rng.normal(size=(networks.CLASSES, size, size, 3))
    y = rng.integers(0, networks.CLASSES, rows)
    x = (patterns[y] + rng.normal(size=(rows, size, size, 3))) / np.sqrt(2)
    return x.astype("float32"), y.astype("int32")


def application(make, size, **options):
    networks.seeded()
    model = make(
        weights=None, input_shape=(size, size, 3), classes=networks.CLASSES, **options
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def convolutional_autoencoder():
    networks.seeded()

    def step(filters, **options):
        return layers.Conv2D(
            filters, 3, padding="same", kernel_initializer="he_normal", **options
        )

    x = keras.Input((12, 12, 1))
    h = step(8, strides=2, activation="relu")(x)
    h = step(16, strides=2, activation="relu")(h)
    h = layers.UpSampling2D()(h)
    h = layers.UpSampling2D()(step(8, activation="relu")(h))
    model = keras.Model(x, step(1)(h))
    model.compile("adam", "mse")
    return model


def u_net():
    networks.seeded()

    def step(filters):
        return layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
        )

    x = keras.Input((12, 12, 1))
    top = step(8)(x)
    middle = step(16)(layers.MaxPooling2D()(top))
    bottom = step(32)(layers.MaxPooling2D()(middle))
    h = layers.Concatenate()([layers.UpSampling2D()(bottom), middle])
    h = layers.Concatenate()([layers.UpSampling2D()(step(16)(h)), top])
    model = keras.Model(x, layers.Conv2D(1, 1, activation="sigmoid")(step(8)(h)))
    model.compile("adam", "binary_crossentropy")
    return model


def bidirectional():
    networks.seeded()
    both = layers.Bidirectional(layers.LSTM(16, return_sequences=True))
    model = keras.Sequential([keras.Input((12, 3)), both, layers.GRU(16)])
    model.add(layers.Dense(1))
    model.compile("adam", "mse")
    return model


def dropped():
    networks.seeded()
    model = keras.Sequential([keras.Input((20,))])
    for _ in range(3):
        model.add(layers.Dense(128, "relu", kernel_initializer="he_normal"))
        model.add(layers.Dropout(0.5))
    model.add(layers.Dense(networks.CLASSES, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def more_healthy():
    """As `networks.healthy`: a name, a function that makes the model, and its data."""
    mlp, cnn = networks.digits("mlp"), networks.digits("cnn")
    apps = keras.applications
    yield "ResNet50", lambda: application(apps.ResNet50, 32), images(32)
    yield (
        "MobileNetV2",
        lambda: application(apps.MobileNetV2, 32, alpha=0.5),
        images(32),
    )
    yield "dropout of 0.5", dropped, mlp
    yield "residual, 24", lambda: networks.residual(depth=24), cnn
    yield "dense, batch norm, 20", lambda: networks.network(depth=20, norm=True), mlp
    yield "transformer, 6 blocks", lambda: networks.transformer(6), networks.sequences()
    yield "LSTM and GRU", bidirectional, networks.series()
    yield "convolutional autoencoder", convolutional_autoencoder, (cnn[0], cnn[0])
    yield "U-Net", u_net, (cnn[0], (cnn[0] > 0).astype("float32"))
    sums = mlp[0][:, :1] + mlp[0][:, 1:2]
    yield "regression, 8", lambda: networks.regression(8), (mlp[0], sums)


# One diagnosis ------------------------------------------------------------------------


def summarised(report):
    """The first finding, and all that are worse than a note."""
    worse = [f.name for f in report.findings if f.severity != "note"]
    return {"first": report.findings[0].name if report.findings else "", "worse": worse}


def trained(model, data, epochs, validation):
    keras.utils.set_random_seed(networks.SEED + 1)
    doctor = Doctor(data, every=4, verbose=0)
    model.fit(
        *data,
        epochs=epochs,
        batch_size=16,
        verbose=0,
        validation_data=validation,
        callbacks=[doctor],
    )
    return doctor.report


def without_skip_connections(depth=50):
    """Batch norm and no skip connections: the first loss is as it should be."""
    return networks.network(depth=depth, norm=True)


def cases():
    """The examiner, the kind of network, its problem, its strength, and how to ask."""
    for kind, name, word, make, data in sick_networks.problems():
        yield (
            "preflight",
            kind,
            name,
            word,
            lambda m=make, k=kind, d=data: preflight(m(k), *d, verbose=0),
        )
    large = list(more_healthy())
    for name, make, data in [*networks.healthy(), *large]:
        yield (
            "preflight",
            name,
            "",
            "",
            lambda m=make, d=data: preflight(m(), *d, verbose=0),
        )
    mlp = networks.digits(rows=doctor_cases.ROWS)
    deep = (
        "mlp",
        "exploding",
        "50 layers",
        lambda _: without_skip_connections(),
        mlp,
        2,
    )
    for kind, name, word, make, *how in [*doctor_cases.problems(), (*deep, None)]:
        yield (
            "Doctor",
            kind,
            name,
            word,
            lambda m=make, k=kind, h=how: trained(m(k), *h),
        )
    halves = [
        (name, make, *doctor_cases.split(data, 80 if len(data[0]) < 100 else 400))
        for name, make, data in large
    ]
    for name, make, data, validation in [*doctor_cases.healthy(), *halves]:
        yield (
            "Doctor",
            name,
            "",
            "",
            lambda m=make, d=data, v=validation: trained(m(), d, 4, v),
        )


def examined(wanted, seeds):
    for seed in seeds:
        networks.SEED = seed
        for examiner, kind, problem, word, ask in cases():
            if not wanted(seed, examiner, kind, problem):
                continue
            started = time.perf_counter()
            answer = summarised(ask())
            seconds = time.perf_counter() - started
            right = answer["first"] == problem if problem else not answer["worse"]
            mark = "" if right else f"   WRONG: {answer}"
            what = f"{examiner:9} {kind:24} {problem:24} {word:18}"
            print(f"{seed} {what} {seconds:5.1f} s{mark}", flush=True)
            case = {"seed": seed, "by": examiner, "network": kind, "problem": problem}
            yield case | {"word": word, **answer, "right": right}
            keras.backend.clear_session()


def compare(wanted, seeds, numbers):
    """The cases that are wanted, and those recorded before that are not."""
    with warnings.catch_warnings():
        # Keras warns of some of the problems.
        warnings.simplefilter("ignore")
        found = list(examined(wanted, seeds))
    places = {case[:4]: i for i, case in enumerate(cases())}
    before = json.loads(numbers.read_text("utf-8"))["cases"] if numbers.exists() else []
    what = ("seed", "by", "network", "problem")
    kept = [case for case in before if not wanted(*(case[key] for key in what))]
    what = ("by", "network", "problem", "word")
    order = sorted(
        [*kept, *found],
        key=lambda case: (case["seed"], places[tuple(case[key] for key in what)]),
    )
    setting = {"tested_seed": TESTED, "unseen_seeds": list(UNSEEN)}
    return {"setting": setting, "versions": versions(), "cases": order}


# The table ----------------------------------------------------------------------------


def count_right(cases):
    right = sum(case["right"] for case in cases)
    return f"{right} of {len(cases)}" if cases else "–"


def table(results):
    """Problems and healthy networks, as the guide includes them."""
    tested = results["setting"]["tested_seed"]
    groups = collections.defaultdict(list)
    for case in results["cases"]:
        seen = "tested" if case["seed"] == tested else "unseen"
        key = case["problem"] or case["network"]
        groups[bool(case["problem"]), key, case["by"], seen].append(case)
    draws = [d for d in ("tested", "unseen") if any(key[-1] == d for key in groups)]
    columns = [(by, d) for by in ("preflight", "Doctor") for d in draws]
    lines = []
    for sick, title in ((True, "problem"), (False, "healthy network")):
        names = list(dict.fromkeys(key for ill, key, *_ in groups if ill is sick))
        what = "reported first" if sick else "no warning"
        heads = [title]
        for by in ("preflight", "Doctor"):
            heads += [f"`{by}`: {what}", "other draws"][: len(draws)]
        lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for name in names:
            numbers = [count_right(groups.get((sick, name, *c), [])) for c in columns]
            label = f"[{name}](#{name})" if sick else name
            lines.append(f"| {label} | {' | '.join(numbers)} |")
        sums = [
            count_right([case for n in names for case in groups.get((sick, n, *c), [])])
            for c in columns
        ]
        lines.append(f"| **all** | {' | '.join(f'**{s}**' for s in sums)} |")
    return "\n".join([*lines[1:], ""])


def main():
    parser = argparse.ArgumentParser(description="Right diagnoses, counted.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[TESTED, *UNSEEN])
    parser.add_argument("--by", nargs="+", default=["preflight", "Doctor"])
    parser.add_argument("--sick", action="store_true", help="only these")
    parser.add_argument("--healthy", action="store_true", help="only these")
    parser.add_argument("--draw", action="store_true", help="only the table")
    parser.add_argument("--only", nargs="+", help="problems and healthy networks")
    given = parser.parse_args()
    numbers = ROOT / "docs" / "_data" / "diagnoses.json"
    if not given.draw:
        both = given.sick == given.healthy

        def wanted(seed, examiner, network, problem):
            return (
                seed in given.seeds
                and examiner in given.by
                and (both or bool(problem) is given.sick)
                and (not given.only or (problem or network) in given.only)
            )

        results = compare(wanted, given.seeds, numbers)
        # A case a line, so that a change shows what has changed.
        lines = ",\n".join(f"    {json.dumps(case)}" for case in results.pop("cases"))
        head = json.dumps(results, indent=2)[:-2]
        numbers.write_text(f'{head},\n  "cases": [\n{lines}\n  ]\n}}\n', "utf-8")
    results = json.loads(numbers.read_text("utf-8"))
    numbers.with_suffix(".txt").write_text(table(results), "utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
