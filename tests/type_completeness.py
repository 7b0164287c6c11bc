"""Checks how much of the public interface has known types, as pyright sees it.

Run by `make lint`. What Keras and TensorFlow leave untyped does not count.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEAST = 0.95


def main() -> int:
    """Prints what has no known type where too much has none."""
    arguments = ["--verifytypes", "keras_dnn", "--ignoreexternal", "--outputjson"]
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    # pyright takes as a library only what it finds on the path of Python.
    path = {"PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    run = subprocess.run(
        command + arguments,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | path,
    )
    try:
        found = json.loads(run.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        print(run.stdout, run.stderr, sep="\n", file=sys.stderr)
        return 1
    score = found["completenessScore"]
    if score >= LEAST:
        return 0
    for symbol in found["symbols"]:
        if not symbol["isTypeKnown"] and symbol["isExported"]:
            reasons = [d["message"].splitlines()[0] for d in symbol["diagnostics"]]
            print(symbol["name"], *reasons, sep="\n    ")
    print(f"Known types: {score:.1%}, at least {LEAST:.0%} are wanted")
    return 1


if __name__ == "__main__":
    sys.exit(main())
