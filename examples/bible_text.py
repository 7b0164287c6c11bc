"""The King James Bible, or one book of it, as the examples load it."""

import re
import shutil
import subprocess
import warnings
from pathlib import Path

BOOK = Path(__file__).parent / "data" / "mark.txt"
WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def load(full: bool = False) -> list[list[str]]:
    """Loads the words of each verse, in lower case.

    Args:
        full: whether to load the whole Bible: 31,102 verses, 790,000 words, 12,800 of
            them different. It is read by the program `bible`, of Debian's packages
            `bible-kjv` and `bible-kjv-text` (`apt-get install bible-kjv`). If that is
            missing, a warning says so and the book in `data` is loaded: 678 verses,
            15,000 words, 1,500 of them different.

    Returns:
        A list of words for each verse.
    """
    text = verses("gen1:1-rev22:21") if full else None
    if full and text is None:
        warnings.warn(
            "The program `bible` is missing: using one book. To get all of them, "
            "install Debian's bible-kjv.",
            stacklevel=2,
        )
    if text is None:
        text = BOOK.read_text(encoding="ascii")
    return [WORD.findall(verse.lower()) for verse in text.splitlines()]


def verses(passage: str) -> str | None:
    """The verses of a passage, one per line; `None` if the program is missing."""
    program = shutil.which("bible")
    if program is None:
        return None
    lines = subprocess.run(
        [program, "-f", passage],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()
    # Each line begins with its reference, such as "Mark1:1".
    return "".join(f"{line.split(' ', 1)[1]}\n" for line in lines)
