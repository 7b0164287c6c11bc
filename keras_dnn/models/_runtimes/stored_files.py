"""The files of a runtime, kept on disk until they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_dnn import _files


class StoredFiles(Mapping[str, bytes]):
    """The contents of the files in a folder by name, each read when it is asked for.

    Args:
        folder: that holds nothing but these files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = _files.files_of(folder)

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return (self.folder / name).read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in self._names)


def stored(files: Mapping[str, bytes], folder: Path) -> StoredFiles:
    """The files on disk: in `folder` unless they are in one already."""
    if isinstance(files, StoredFiles):
        return files
    folder.mkdir()
    _files.unpack(files, folder)
    return StoredFiles(folder)
