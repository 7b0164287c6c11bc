"""Runs a script as a worker that ends with the process that started it.

It is run as a file, since a script may have to do something before it imports Keras.
"""

import os
import runpy
import sys
import threading
from pathlib import Path

LAUNCHER_HAS_ENDED = 70


def _end_with_launcher() -> None:
    # Nothing is written to the pipe. It closes when the launcher ends in any way.
    # Not `sys.stdin.read`, whose lock blocks the interpreter's shutdown.
    os.read(0, 1)
    os._exit(LAUNCHER_HAS_ENDED)


if __name__ == "__main__":
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
