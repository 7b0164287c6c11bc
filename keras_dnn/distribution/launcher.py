"""Starts workers as processes on this machine."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from keras_dnn import _arguments

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the ports that the system assigns to outgoing connections."""
POLL = 0.05
"""Seconds between two checks of the processes."""


def launch(
    script: str | Path,
    arguments: Sequence[str] = (),
    *,
    workers: int = 2,
    timeout: float | None = None,
    grace: float = 30.0,
    log_dir: str | Path | None = None,
) -> list[int]:
    """Runs a script as several workers on this machine and waits for them.

    It is meant for trying a script out, for tests, and for a machine with several
    devices. Each worker gets a `TF_CONFIG` with free ports. No worker outlives the call
    or the calling process: workers are killed, since TensorFlow makes them ignore a
    request to end.

    Args:
        script: the file to run.
        arguments: arguments of the script, its `sys.argv[1:]`.
        workers: number of workers; worker 0 is the chief.
        timeout: seconds after which running workers are killed; `None` for no limit.
        grace: seconds that the other workers have to end by themselves after one has
            failed.
        log_dir: folder for the workers' output, in `worker-0.log` and so on; `None` to
            let them write to this process's output.

    Returns:
        The exit status of each worker: 0 for success, negative for the signal that
        ended it.

    Raises:
        ValueError: if a number lies outside its range or the script does not exist.

    Example:
        >>> from pathlib import Path
        >>> from keras_dnn.distribution import launch
        >>> script = Path("hello.py")
        >>> _ = script.write_text("import os; print(os.environ['TF_CONFIG'][-31:])")
        >>> launch(script, workers=2, log_dir="logs")
        [0, 0]
        >>> print(Path("logs/worker-1.log").read_text().strip())
        {"type": "worker", "index": 1}}
    """
    _arguments.count("workers", workers)
    if timeout is not None:
        _arguments.number("timeout", timeout, bounds="()")
    _arguments.number("grace", grace)
    if not Path(script).is_file():
        raise ValueError(f"script must be a file. Received: script={str(script)!r}")
    addresses = [f"{HOST}:{port}" for port in _free_ports(workers)]
    command = [
        sys.executable,
        str(Path(__file__).with_name("_worker_process.py")),
        str(script),
    ]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                _running(
                    [*command, *arguments],
                    _environment(addresses, i),
                    None if log_dir is None else Path(log_dir) / f"worker-{i}.log",
                )
            )
            for i in range(workers)
        ]
        _wait(processes, timeout, grace)
    return [process.returncode for process in processes]


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], log: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, which is killed at the end of the context if it still runs."""
    with ExitStack() as stack:
        out: Any = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=None if out is None else subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _wait(
    processes: list[subprocess.Popen[bytes]], timeout: float | None, grace: float
) -> None:
    """Waits until all have ended or the time limit is reached."""
    end = float("inf") if timeout is None else time.monotonic() + timeout
    failed = False
    while time.monotonic() < end:
        codes = [process.poll() for process in processes]
        if None not in codes:
            return
        if not failed and any(codes):
            failed, end = True, min(end, time.monotonic() + grace)
        time.sleep(POLL)


def _environment(addresses: list[str], index: int) -> dict[str, str]:
    config = {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": index},
    }
    # Connections to this machine must not use a proxy.
    return {**os.environ, "TF_CONFIG": json.dumps(config), "no_grpc_proxy": HOST}


def _free_ports(count: int) -> list[int]:
    """Random free ports; random, since other programs may search at the same time."""
    free: list[int] = []
    with ExitStack() as stack:
        while len(free) < count:
            port = random.SystemRandom().choice(PORTS)
            tried = stack.enter_context(socket.socket())
            try:
                tried.bind(("", port))
            except OSError:
                continue
            free.append(port)
    return free
