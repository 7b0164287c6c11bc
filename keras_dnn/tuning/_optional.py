"""SciPy and KerasTuner, an extra: imported here, and the error if one is missing."""

from __future__ import annotations

import importlib
from typing import Any


def extra(module: str, package: str) -> Any:
    """Imports a module of the extra `tuning`.

    Args:
        module: its name.
        package: what it belongs to, for the message.

    Raises:
        ImportError: if the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This needs {package}. Install it with: pip install 'keras_dnn[tuning]'"
        ) from error
