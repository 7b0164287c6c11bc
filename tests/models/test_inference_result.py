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
