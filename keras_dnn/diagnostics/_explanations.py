"""The page of the guide that explains each check, installed with the package."""

from __future__ import annotations

import functools
import re
from pathlib import Path

PAGE = Path(__file__).with_name("checks.md")
COMMAND = "python -m keras_dnn.diagnostics"
"""Prints the page, or the section of a check, wherever the package is installed."""


def command(name: str) -> str:
    """What to type to read about a check."""
    return f"{COMMAND} {name}"


@functools.cache
def explanations() -> dict[str, str]:
    """What the page says of each check, as plain text, by name."""
    sections = re.split(r"^#+ (.*)\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    texts = zip(sections[1::2], sections[2::2], strict=True)
    return {name: _plain(text) for name, text in texts if re.fullmatch("[a-z-]+", name)}


def _plain(text: str) -> str:
    """The text without the syntax of links and references."""
    without_links = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\{py:\w+\}`~?([^`]*)`", r"\1", without_links).strip()
