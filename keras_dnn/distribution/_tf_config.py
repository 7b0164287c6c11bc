"""Checks `TF_CONFIG`, from which TensorFlow reads what it can and ignores the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

from keras_dnn import _arguments

EXAMPLE = (
    '{"cluster": {"worker": ["host1:2000", "host2:2000"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
JOBS = ("chief", "worker", "ps", "evaluator")


def check_tf_config(environment: Mapping[str, str]) -> None:
    """Raises an error for a `TF_CONFIG` with which a worker would train alone.

    Args:
        environment: the environment of the process, such as `os.environ`.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        _refuse(f"be JSON, but it isn't: {error}", text)
    if config == {}:
        return
    if not isinstance(config, dict) or "cluster" not in config:
        keys = f", not {sorted(config)}" if isinstance(config, dict) else ""
        _refuse(f'have the keys "cluster" and "task"{keys}', config)
    cluster = config["cluster"]
    if not isinstance(cluster, dict) or not cluster or not set(cluster) <= set(JOBS):
        jobs = ", ".join(f'"{job}"' for job in JOBS)
        _refuse(f'list the workers in "cluster" by their job ({jobs})', cluster)
    # A job may also be a dict from indices to addresses.
    addresses = {
        job: list(tasks.values() if isinstance(tasks, dict) else tasks)
        if isinstance(tasks, list | tuple | dict)
        else []
        for job, tasks in cluster.items()
    }
    flat = [address for tasks in addresses.values() for address in tasks]
    wrong = [address for address in flat if not _is_address(address)]
    if wrong or not all(addresses.values()):
        _refuse('give each worker an address like "host:2000"', wrong or cluster)
    twice = [address for address, n in Counter(flat).items() if n > 1]
    if twice:
        _refuse("give each worker an address of its own", twice)
    _check_task(config, addresses)


def _check_task(config: dict[str, Any], addresses: dict[str, list[Any]]) -> None:
    task = config.get("task")
    if not isinstance(task, dict) or not {"type", "index"} <= set(task):
        _refuse('say which worker this is: "task" has a "type" and an "index"', task)
    if task["type"] not in addresses:
        _refuse(f'have in "task" a "type" of {sorted(addresses)}', task)
    count = len(addresses[task["type"]])
    index = str(task["index"])
    if not index.isdecimal() or int(index) >= count:
        _refuse(f'have in "task" an "index" from 0 to {count - 1}', task)


def _is_address(address: Any) -> bool:
    if not isinstance(address, str):
        return False
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _refuse(duty: str, received: Any) -> NoReturn:
    raise ValueError(
        f"TF_CONFIG must {duty}. Received: {_arguments.shown(received)}\n"
        f"Write it like this: {EXAMPLE}"
    )
