"""Files are whole or as they were, and nothing in the package writes them otherwise."""

import ast
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

import keras_dnn
from keras_dnn import _files

PACKAGE = Path(keras_dnn.__file__).parent


def failing(file):
    file.write(b"half of it")
    raise RuntimeError("the disk is full")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_file_is_whole_or_as_it_was(before, tmp_path):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_bytes(before)
    was = contents(tmp_path)
    with (
        pytest.raises(RuntimeError, match="disk is full"),
        _files.writing(path) as file,
    ):
        failing(file)
    assert contents(tmp_path) == was
    with _files.writing(path) as file:
        file.write(b"new")
        file.flush()
        # Until the end, readers see the old one.
        assert contents(tmp_path).get("file.txt") == before
    assert contents(tmp_path) == {"file.txt": b"new"}


def test_permissions_and_links_stay(tmp_path):
    umask = os.umask(0o027)
    try:
        _files.write(tmp_path / "new", "text")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    (tmp_path / "link").symlink_to(tmp_path / "new")
    _files.write(tmp_path / "link", "ü\n")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new").read_bytes() == b"\xc3\xbc\n"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


def test_a_device_is_written_to(tmp_path):
    _files.write("/dev/null", "text")
    assert not Path("/dev/null").is_file()
    with pytest.raises(FileNotFoundError, match=r"folder that exists.*nowhere/x\.txt"):
        _files.write(tmp_path / "nowhere" / "x.txt", "")
    with pytest.raises(IsADirectoryError):
        _files.write(tmp_path, "")


# NumPy before 2 leaves the archive to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_arrays_and_archives_that_fail_leave_the_old_ones(tmp_path):
    class Unreadable:
        def __array__(self, *args, **kwargs):
            raise RuntimeError("no array")

    arrays, archive = tmp_path / "a.npz", tmp_path / "a.zip"
    _files.write_arrays(arrays, {"x": np.arange(3), "y": 1.5})
    _files.write_archive(archive, [("a/b", b"1"), ("c", arrays)])
    was = contents(tmp_path)
    with pytest.raises(RuntimeError, match="no array"):
        _files.write_arrays(arrays, {"x": np.zeros(9), "y": Unreadable()})
    with pytest.raises(FileNotFoundError):
        _files.write_archive(archive, [("a", b"2"), ("b", tmp_path / "missing")])
    assert contents(tmp_path) == was
    with np.load(arrays) as found:
        assert found["x"].tolist() == [0, 1, 2]
        assert found["y"] == 1.5
    with zipfile.ZipFile(archive) as found:
        assert found.namelist() == ["a/b", "c"]
        assert found.read("c") == was["a.npz"]


def test_a_folder_is_filled_at_the_end(tmp_path):
    path = tmp_path / "saved" / "model"
    with _files.writing_folder(path) as folder:
        (folder / "variables").mkdir()
        (folder / "assets").mkdir()
        (folder / "variables" / "data").write_text("1")
        (folder / "model.pb").write_text("1")
        assert not path.exists()
    assert _files.files_of(path) == ["model.pb", "variables/data"]
    assert (path / "assets").is_dir()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(RuntimeError, match="disk is full"):  # noqa: SIM117
        with (
            _files.writing_folder(path) as folder,
            (folder / "model.pb").open("wb") as f,
        ):
            failing(f)
    assert (path / "model.pb").read_text() == "1"
    with _files.writing_folder(path) as folder:
        (folder / "model.pb").write_text("2")
    assert (path / "model.pb").read_text() == "2"
    assert (path / "notes.txt").read_text() == "mine"
    assert [p.name for p in path.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "name",
    [
        *("/tmp/x", "../x", "a/../../x", "a/..", "..", "", ".", "C:/x", "C:x"),
        *("a\\..\\..\\x", "\\\\server\\x", "\\x", "a\0b"),
    ],
)
def test_no_name_leads_out_of_a_folder(name, tmp_path):
    with pytest.raises(ValueError, match="stay in their folder"):
        _files.unpack({name: b"?"}, tmp_path / "folder")
    assert not list(tmp_path.rglob("*"))


def test_files_are_unpacked_into_a_folder(tmp_path):
    _files.unpack({"a/b..c/d": b"1", "..e": b"2"}, tmp_path)
    assert (tmp_path / "a" / "b..c" / "d").read_bytes() == b"1"
    assert (tmp_path / "..e").read_bytes() == b"2"


def test_text_is_added_at_the_end(tmp_path):
    for text in ("a,b\r\n", "1,2\r\n"):
        _files.append(tmp_path / "rows", text)
    assert (tmp_path / "rows").read_bytes() == b"a,b\r\n1,2\r\n"


WRITERS = {
    *("savez", "savez_compressed", "savetxt", "tofile", "to_csv", "dump"),
    *("write_text", "write_bytes", "write_out", "write_array"),
    *("save", "save_model", "save_weights", "savefig", "imsave"),
}
OPENERS = {"open", "fdopen", "ZipFile", "NamedTemporaryFile"}
ELSEWHERE = {
    # Not files: streams in memory.
    ("diagnostics/_html.py", "savefig"),
    ("distribution/_exchange.py", "open"),
    # A log that grows while the worker runs.
    ("distribution/launcher.py", "open"),
    # Other libraries, into temporary folders.
    ("models/_runtimes/export.py", "write_out"),
    ("models/_runtimes/openvino.py", "save_model"),
    ("models/_runtimes/converters.py", "save"),
    # In a process of its own that imports nothing of the package.
    ("models/_runtimes/quantize.py", "write_bytes"),
}


def writes(source):
    """The names of the calls that write files, by other means than `_files`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called
        name = name.id if isinstance(name, ast.Name) else name
        owner = called.value if isinstance(called, ast.Attribute) else None
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        texts = [str(x.value) for x in given if isinstance(x, ast.Constant)]
        modes = [set(text) for text in texts if set(text) <= set("rwaxbt+")]
        opens = name in OPENERS and any(mode & set("wax+") for mode in modes)
        ours = isinstance(owner, ast.Name) and owner.id == "_files"
        if opens or (name in WRITERS and not ours):
            yield name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open(p, 'w')", ["open"]),
        ("p.open(mode='ab')", ["open"]),
        ("open(p)", []),
        ("np.savez(p, x)", ["savez"]),
        ("zipfile.ZipFile(p, 'w')", ["ZipFile"]),
        ("zipfile.ZipFile(p)", []),
        ("Path(p).write_text('w')", ["write_text"]),
        ("_files.write(p, 'w')", []),
        ("model.save(p)", ["save"]),
    ],
)
def test_the_search_for_writers_finds_them(source, found):
    assert list(writes(source)) == found


def test_all_files_are_written_by_one_module():
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in writes(path.read_text())
        if path.name != "_files.py"
    }
    assert found == ELSEWHERE
