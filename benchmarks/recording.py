"""The command line of a script that measures, records its numbers and draws them."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent

CHART = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
"""How a chart looks, in matplotlib's parameters."""


def record(
    name: str,
    description: str,
    compare: Callable[[bool], Any],
    draw: Callable[[Any, Path], None],
) -> None:
    """Measures and draws, as the command line says.

    Args:
        name: of the file of numbers, in `docs/_data`.
        description: of the script, for `--help`.
        compare: given whether a quick try-out is wanted, returns the numbers. Those of
            a try-out go to `runs` and leave what is recorded alone.
        draw: given the numbers and a folder, writes pictures there in the style of
            `CHART`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a try-out in runs/")
    parser.add_argument("--draw", action="store_true", help="only draw the pictures")
    given = parser.parse_args()
    folder = ROOT / "runs" / f"compare_{name}" if given.quick else ROOT / "docs"
    numbers, pictures = folder / "_data" / f"{name}.json", folder / "_images"
    if not given.draw:
        write(compare(given.quick), numbers)
    pictures.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(CHART):
        draw(json.loads(numbers.read_text(encoding="utf-8")), pictures)
    print(f"{numbers}\n{pictures}")


def write(results: Any, file: Path) -> None:
    """Writes numbers as JSON, a list of them on one line."""
    text = json.dumps(results, indent=2)
    text = re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match[0].split()), text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")
