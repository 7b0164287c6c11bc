"""Runs a script as a worker that does not outlive the process that started it.

Run as a file: what a script does before it imports Keras must come first.
"""

import os
import runpy
import sys
import threading
from pathlib import Path

LAUNCHER_IS_GONE = 70


def _end_with_launcher() -> None:
    # The pipe is never written to. It closes when the launcher ends, however it does.
    # Not `sys.stdin.read`, whose lock the interpreter cannot take when it shuts down.
    os.read(0, 1)
    os._exit(LAUNCHER_IS_GONE)


if __name__ == "__main__":
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
