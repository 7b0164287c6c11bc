"""What is done with the result: calls, threads, text, plot, saving, other processes."""

import concurrent.futures
import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from keras_dnn.models import InferenceResult, optimize_for_inference
from tests.models.inference_cases import candidate

pytestmark = pytest.mark.usefixtures("short_turns")


def test_any_number_of_rows(measured):
    model, x, _, result = measured
    assert result(x[:0]).shape == (0, 3)
    for rows in (1, 7):
        np.testing.assert_allclose(result(x[:rows]), model(x[:rows]), atol=1e-5)


def test_threads_do_not_interfere(measured):
    *_, x, _, result = measured
    rows = [x[i : i + 1] for i in range(64)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(result, rows))
    np.testing.assert_array_equal(np.concatenate(found), [result(a)[0] for a in rows])


def test_the_text_shows_all_candidates_and_what_was_done(measured):
    *_, result = measured
    text = str(result)
    for found in result.candidates:
        assert found.name in text
    assert f"{candidate(result, 'TFLite int8').largest_difference:.1e}" in text
    assert "beyond the tolerance" in text
    assert "dropped that do nothing at inference: 2" in text
    assert "folded: 1 of 1" in text
    assert json.loads(json.dumps(result.to_dict()))["fastest"] == result.fastest


def test_the_plot_has_a_bar_for_each_candidate(measured):
    *_, result = measured
    times, errors = result.plot().axes
    there = [r for r in result.candidates if not r.failure]
    widths = [bar.get_width() for bar in times.patches]
    np.testing.assert_allclose(widths, [1e3 * r.seconds for r in there])
    assert len(errors.collections[0].get_offsets()) == len(there)


ELSEWHERE = """
import pickle, sys
import numpy as np
from keras_dnn.models import InferenceResult

x = np.load(sys.argv[2])
with open(sys.argv[1] + ".pickle", "rb") as file:
    pickled = pickle.load(file)
loaded = InferenceResult.load(sys.argv[1])
np.testing.assert_array_equal(pickled(x), loaded(x))
np.save(sys.argv[3], loaded(x))
"""


@pytest.mark.quick
@pytest.mark.slow
def test_it_is_saved_and_pickled_for_other_processes(measured, tmp_path):
    _, x, _, result = measured
    paths = [str(tmp_path / name) for name in ("fast.zip", "x.npy", "found.npy")]
    result.save(paths[0])
    (tmp_path / "fast.zip.pickle").write_bytes(pickle.dumps(result))
    np.save(paths[1], x[:5])

    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], check=True)

    np.testing.assert_array_equal(np.load(paths[2]), result(x[:5]))
    loaded = InferenceResult.load(paths[0])
    assert str(loaded) == str(result)


@pytest.mark.parametrize("name", ["frozen graph", "TFLite float32"])
def test_the_archive_holds_the_files_of_the_runtime(name, measured, tmp_path):
    model, x, *_ = measured
    result = optimize_for_inference(
        model, x, candidates=[name], batch_size=3, rounds=1, verbose=0
    )
    result.save(tmp_path / "fast.zip")
    file = {"frozen graph": "saved_model.pb", "TFLite float32": "model.tflite"}[name]
    assert file in zipfile.ZipFile(tmp_path / "fast.zip").namelist()
    loaded = InferenceResult.load(tmp_path / "fast.zip")
    np.testing.assert_array_equal(loaded(x[:7]), result(x[:7]))
    np.testing.assert_allclose(loaded(x[:7]), model(x[:7]), atol=1e-5)


def test_refuses_other_files(tmp_path):
    path = tmp_path / "fast.zip"
    path.write_bytes(b"?")
    with pytest.raises(ValueError, match=r"that save wrote.*fast\.zip"):
        InferenceResult.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "contents.json",
            json.dumps(
                {
                    "version": 99,
                    "fastest": "",
                    "signature": {
                        "inputs": [],
                        "input_structure": 0,
                        "output_structure": 0,
                    },
                }
            ),
        )
    with pytest.raises(ValueError, match="this version"):
        InferenceResult.load(path)


@pytest.fixture(scope="module")
def saved(measured, tmp_path_factory):
    *_, result = measured
    path = tmp_path_factory.mktemp("saved") / "fast.zip"
    result.save(path)
    return path


def rewritten(saved, path, change=lambda table: table, **more):
    """A copy of an archive with another table and more files."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "contents.json":
                content = json.dumps(change(json.loads(content)))
            new.writestr(name, content)
        for name, content in more.items():
            new.writestr(name, content)
    return path


def test_a_saved_runtime_writes_nowhere_else(saved, tmp_path):
    path = tmp_path / "bad.zip"
    for name in (str(tmp_path / "absolute.txt"), "../up.txt", "a/../../../up.txt"):
        rewritten(saved, path, **{name: "?"})
        with pytest.raises(ValueError, match=rf"stay in their folder.*{name!r}"):
            InferenceResult.load(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        lambda table: [],
        lambda table: {},
        lambda table: {**table, "signature": {}},
        lambda table: {**table, "candidates": [{"name": "x", "bytes": 3, "y": 0}]},
        lambda table: {**table, "more": 0},
        lambda table: {**table, "version": "x"},
        lambda table: {**table, "fastest": ["x"]},
    ],
)
def test_damaged_tables_are_named(change, saved, tmp_path):
    path = rewritten(saved, tmp_path / "bad.zip", change)
    with pytest.raises(ValueError, match=r"that save wrote.*bad\.zip") as error:
        InferenceResult.load(path)
    assert len(str(error.value).splitlines()) == 1


def test_torn_archives_and_folders_are_named(saved, tmp_path):
    path = tmp_path / "torn.zip"
    content = saved.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    for torn in (content[: len(content) // 2], b"", bytes(damaged)):
        path.write_bytes(torn)
        with pytest.raises(ValueError, match=r"that save wrote.*torn\.zip"):
            InferenceResult.load(path)
    with pytest.raises(ValueError, match="it is a folder"):
        InferenceResult.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        InferenceResult.load(tmp_path / "nowhere.zip")


def test_saving_that_fails_leaves_the_old_file(measured, saved, tmp_path):
    *_, result = measured
    path = tmp_path / "fast.zip"
    path.write_bytes(b"old")
    broken = pickle.loads(pickle.dumps(result))
    broken.predictor.files = {"a": b"1", "b": None}
    with pytest.raises(TypeError):
        broken.save(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [
        ("fast.zip", b"old")
    ]
