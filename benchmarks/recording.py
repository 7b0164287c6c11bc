"""The command line of a script that measures, records its numbers and draws them."""

import argparse
import json
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import keras_dnn

ROOT = Path(__file__).resolve().parent.parent

CHART = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
"""The style of charts, in matplotlib's parameters."""


def record(
    name: str,
    description: str,
    compare: Callable[[bool], Any],
    draw: Callable[[Any, Path], None],
) -> None:
    """Measures and draws, depending on the command line.

    Args:
        name: name of the file of numbers, in `docs/_data`.
        description: description of the script, for `--help`.
        compare: returns the numbers; its argument says whether to run a quick trial.
            The results of a trial go to `runs` and do not replace the recorded ones.
        draw: draws the numbers, its first argument, into a folder, its second, in the
            style of `CHART`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a quick trial in runs/")
    parser.add_argument("--draw", action="store_true", help="only draw the figures")
    options = parser.parse_args()
    folder = ROOT / "runs" / f"compare_{name}" if options.quick else ROOT / "docs"
    numbers, figures = folder / "_data" / f"{name}.json", folder / "_images"
    if not options.draw:
        write(compare(options.quick), numbers)
    figures.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(CHART):
        draw(json.loads(numbers.read_text(encoding="utf-8")), figures)
    print(f"{numbers}\n{figures}")


def versions() -> dict[str, str]:
    """The versions of Python and the libraries, to be recorded with the numbers."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "keras_dnn": keras_dnn.__version__,
    }


def write(results: Any, file: Path) -> None:
    """Writes numbers as JSON, with each list of numbers on one line."""
    text = json.dumps(results, indent=2)
    text = re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match[0].split()), text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")
