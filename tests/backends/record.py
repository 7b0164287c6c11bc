"""Writes what examples and numbers give on the backend that Keras has.

`KERAS_BACKEND=jax python -m tests.backends.record out.json`. Its caller compares.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.backends.examples import examples, outcome
from tests.backends.numbers import NUMBERS


def plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def number(name: str) -> Any:
    keras.utils.set_random_seed(0)
    try:
        return {"value": plain(NUMBERS[name]())}
    except Exception as error:
        return {"kind": type(error).__name__, "message": str(error)}


def main() -> None:
    recorded = {
        "backend": keras.backend.backend(),
        "tensorflow": "tensorflow" in sys.modules,
        "numbers": {name: number(name) for name in NUMBERS},
        "examples": {path: outcome(path, text) for path, text in examples().items()},
    }
    Path(sys.argv[1]).write_text(json.dumps(recorded), encoding="utf-8")


if __name__ == "__main__":
    main()
