"""Local workers and when they end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keras_dnn
from keras_dnn.distribution import launch


def written(folder, code):
    script = folder / "script.py"
    script.write_text(f"import json, os, pathlib, sys, time\n{code}")
    return script


def has_ended(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.quick
def test_each_worker_knows_the_cluster_and_its_index(tmp_path):
    script = written(tmp_path, "print(os.environ['TF_CONFIG']); print(*sys.argv[1:])")
    assert launch(script, ["a", "b"], workers=3, log_dir=tmp_path / "logs") == [0] * 3
    logs = [(tmp_path / f"logs/worker-{i}.log").read_text() for i in range(3)]
    configs = [json.loads(log.splitlines()[0]) for log in logs]
    assert [c["task"] for c in configs] == [
        {"type": "worker", "index": i} for i in range(3)
    ]
    addresses = configs[0]["cluster"]["worker"]
    assert all(c["cluster"] == {"worker": addresses} for c in configs)
    assert len(set(addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert [log.splitlines()[1] for log in logs] == ["a b"] * 3


def test_a_script_can_import_modules_beside_it(tmp_path):
    (tmp_path / "beside.py").write_text("NUMBER = 7")
    script = written(tmp_path, "import beside; sys.exit(beside.NUMBER)")
    assert launch(script, workers=2) == [7, 7]


WAIT = "time.sleep(60)"
INDEX = "index = json.loads(os.environ['TF_CONFIG'])['task']['index']"


def test_workers_are_killed_at_the_time_limit(tmp_path):
    assert launch(written(tmp_path, WAIT), timeout=0.5) == [-9, -9]


def test_the_others_are_killed_when_one_has_failed(tmp_path):
    code = f"{INDEX}\nif index: {WAIT}\nsys.exit(3)"
    assert launch(written(tmp_path, code), grace=0.5) == [3, -9]


def test_a_finished_worker_does_not_end_the_others(tmp_path):
    code = f"{INDEX}\ntime.sleep(0.3)\nsys.exit(3 * index)"
    assert launch(written(tmp_path, code), workers=2, grace=0) == [0, 3]


def test_no_worker_outlives_a_killed_launcher(tmp_path):
    # The workers ignore requests to end, as those of TensorFlow do.
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path(f'{tmp_path}/{{os.getpid()}}.pid').touch()\n{WAIT}"
    )
    script = written(tmp_path, code)
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, keras_dnn as k; k.distribution.launch(sys.argv[1])",
            str(script),
        ],
        cwd=Path(keras_dnn.__file__).parents[1],
        stderr=subprocess.DEVNULL,
    )
    try:
        found = []
        end = time.monotonic() + 60
        while len(found) < 2 and time.monotonic() < end:
            found = [int(path.stem) for path in tmp_path.glob("*.pid")]
            time.sleep(0.05)
        assert len(found) == 2
    finally:
        launcher.kill()
        launcher.wait()
    end = time.monotonic() + 10
    while not all(map(has_ended, found)) and time.monotonic() < end:
        time.sleep(0.05)
    assert all(map(has_ended, found))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers must be a positive integer. Received: workers=0"),
        ({"timeout": 0}, r"timeout must be a number in \(0, inf\)"),
        ({"grace": -1}, r"grace must be a number in \[0, inf\)"),
        ({"script": "nowhere.py"}, "script must be a file. Received: script='nowhere"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        launch(**{"script": __file__, **arguments})
