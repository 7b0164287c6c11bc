"""Makes `mark.txt` with the program of Debian's package `bible-kjv`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bible_text import BOOK, verses


def main() -> None:
    """Writes the text beside this script."""
    text = verses("mark1:1-mark16:20")
    if text is None:
        sys.exit("The program `bible` is missing: install Debian's bible-kjv.")
    BOOK.write_text(text, encoding="ascii")
    print(f"{BOOK}: {BOOK.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
