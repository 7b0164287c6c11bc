"""A `TF_CONFIG` with which a worker would train alone is refused."""

import json

import pytest

from keras_dnn.distribution._tf_config import check_tf_config

TWO = ["10.0.0.1:20000", "10.0.0.2:20000"]
FIRST = {"type": "worker", "index": 0}


def check(config):
    text = config if isinstance(config, str) else json.dumps(config)
    check_tf_config({"TF_CONFIG": text})


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{}",
        {"cluster": {"worker": TWO}, "task": FIRST},
        {"cluster": {"worker": TWO}, "task": {"type": "worker", "index": "1"}},
        {
            "cluster": {"chief": TWO[:1], "worker": TWO[1:]},
            "task": {"type": "chief", "index": 0},
            "job": {"region": "here"},
        },
        {"cluster": {"worker": {"0": TWO[0], "1": TWO[1]}}, "task": FIRST},
        {"cluster": {"worker": ["[::1]:2000", "localhost:2000"]}, "task": FIRST},
    ],
)
def test_what_names_all_workers_is_taken(config):
    check(config)


def test_no_config_is_one_process():
    check_tf_config({})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{cluster: 1}", "be JSON, but it isn't"),
        ([1], 'have the keys "cluster" and "task"'),
        ({"clusters": {"worker": TWO}, "task": FIRST}, r"not \['clusters', 'task'\]"),
        ({"task": FIRST}, r"not \['task'\]"),
        ({"cluster": {"workers": TWO}, "task": FIRST}, "by their job"),
        ({"cluster": {}, "task": FIRST}, "by their job"),
        ({"cluster": {"worker": "a:1"}, "task": FIRST}, "an address like"),
        ({"cluster": {"worker": []}, "task": FIRST}, "an address like"),
        ({"cluster": {"worker": ["a:1", "b"]}, "task": FIRST}, r"Received: \['b'\]"),
        ({"cluster": {"worker": ["a:1", "b:x"]}, "task": FIRST}, r"\['b:x'\]"),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": FIRST}, "of its own"),
        ({"cluster": {"worker": TWO}}, "say which worker this is"),
        ({"cluster": {"worker": TWO}, "tasks": FIRST}, "say which worker this is"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker"}}, 'an "index"\'?'),
        (
            {"cluster": {"worker": TWO}, "task": {"type": "chief", "index": 0}},
            r"a \"type\" of \['worker'\]",
        ),
        (
            {"cluster": {"worker": TWO}, "task": {"type": "worker", "index": 2}},
            'an "index" from 0 to 1',
        ),
        (
            {"cluster": {"worker": TWO}, "task": {"type": "worker", "index": -1}},
            'an "index" from 0 to 1',
        ),
    ],
)
def test_what_leaves_a_worker_alone_is_refused(config, message):
    with pytest.raises(ValueError, match=message) as caught:
        check(config)
    assert str(caught.value).startswith("TF_CONFIG must ")
    assert str(caught.value).count("\n") == 1
