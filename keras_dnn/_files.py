"""Files that are written whole or not at all.

A process may be killed, a disk may be full, an object may turn out not to be
serialisable: whatever ends the writing, the file that was there before stays as it was.
So the new file is written beside it, under another name, and takes its place at the
end. Every writer of the package goes through this module.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import numpy as np
from numpy.typing import ArrayLike


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file to write, which becomes `path` when the block ends.

    If the block raises an exception, `path` is left as it was. A file that is replaced
    passes on its permissions; a link keeps pointing to the file.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        # Nothing can take the place of a device or a pipe; a folder cannot be opened.
        with target.open("wb") as file:
            yield file
        return
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"path must be in a folder that exists. Received: path={str(path)!r}"
        )
    # Not every file system takes long names.
    partial = target.with_name(f".{target.name[:32]}-{uuid.uuid4().hex}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write(path: str | Path, content: bytes | str) -> None:
    """Writes bytes, or text in UTF-8 as it is."""
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_arrays(path: str | Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes arrays by name, for `np.load`."""
    with writing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_archive(path: str | Path, files: Iterable[tuple[str, bytes | Path]]) -> None:
    """Writes a zip archive of contents, or of files that are read here, by name."""
    with writing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in files:
            if isinstance(content, Path):
                archive.write(content, name)
            else:
                archive.writestr(name, content)


def append(path: str | Path, content: str) -> None:
    """Adds text to the end of a file; only its last line can be cut off."""
    with Path(path).open("ab") as file:
        file.write(content.encode())


@contextlib.contextmanager
def writing_folder(path: str | Path) -> Iterator[Path]:
    """A folder to fill, whose files move to the folder `path` when the block ends.

    If the block raises an exception, `path` is left as it was. Other files that are in
    `path` stay there.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name[:32]}-{uuid.uuid4().hex}.partial")
    partial.mkdir()
    try:
        yield partial
        for folder in (partial, *filter(Path.is_dir, partial.rglob("*"))):
            (target / folder.relative_to(partial)).mkdir(parents=True, exist_ok=True)
        # What is in folders first: a SavedModel is read from the file at the top.
        for name in sorted(files_of(partial), key=lambda name: -name.count("/")):
            (partial / name).replace(target / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def files_of(folder: Path) -> list[str]:
    """The paths of all files in a folder, relative to it, as an archive has them."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found]


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Writes files by name into a folder, and nowhere else.

    Raises:
        ValueError: if a name leads out of the folder.
    """
    for name, content in files.items():
        path = folder / checked_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def checked_name(name: str) -> str:
    """The name of a file in an archive, if it stays in the folder on every system.

    Raises:
        ValueError: if it is absolute, names a drive or goes up.
    """
    windows = PureWindowsPath(name)
    parts = {*PurePosixPath(name).parts, *windows.parts}
    inside = name and not name.startswith("/") and not windows.anchor
    if not inside or ".." in parts or "\0" in name or not parts:
        raise ValueError(
            "files must have names that stay in their folder, without '..' and not "
            f"absolute. Received: a file named {name!r}"
        )
    return name
