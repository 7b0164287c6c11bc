"""SciPy and KerasTuner, which the extra `tuning` installs, imported on demand."""

from __future__ import annotations

import importlib
from typing import Any


def import_optional(module: str, package: str) -> Any:
    """Imports a module of an optional package.

    Args:
        module: name of the module.
        package: name of the package, for the message.

    Raises:
        ImportError: if the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This needs {package}. Install it with: pip install 'keras_dnn[tuning]'"
        ) from error
