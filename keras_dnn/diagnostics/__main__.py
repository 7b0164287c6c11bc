"""Explains a check: `python -m keras_dnn.diagnostics vanishing`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from keras_dnn.diagnostics._explanations import COMMAND, explanations


def explained(names: Sequence[str]) -> str:
    """The text on these checks; without a name, the list of names.

    Raises:
        ValueError: if there is no check of a name.
    """
    texts = explanations()
    unknown = [name for name in names if name not in texts]
    if unknown:
        raise ValueError(
            f"name must be that of a check: {', '.join(texts)}. "
            f"Received: {', '.join(unknown)}"
        )
    if not names:
        return "\n".join([f"{COMMAND} NAME explains one of", *texts])
    return "\n\n".join(f"{name}\n\n{texts[name]}" for name in names)


def main() -> None:
    """Prints what is asked for on the command line."""
    try:
        print(explained(sys.argv[1:]))  # noqa: T201
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
