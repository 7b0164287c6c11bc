"""What Keras itself can do only from some version on."""

import keras
import pytest

VERSION = tuple(int(part) for part in keras.__version__.split(".")[:2])


def needs_keras(minor: int, what: str) -> pytest.MarkDecorator:
    """Skips a test where Keras is older than 3.`minor`.

    Args:
        minor: the version of Keras 3.
        what: Keras cannot do before.
    """
    return pytest.mark.skipif(
        (3, minor) > VERSION, reason=f"Keras before 3.{minor} does not {what}"
    )
