"""Probes that record: rows written in the graph, a record of arrays on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dnn.callbacks._probe.step_buffer import Table
from keras_dnn.callbacks._probe.tap import Probe

PIECES = 32
"""How often rows are fetched before they are joined to the record."""


class Recorder(Probe):
    """A probe whose steps write rows to `_table`, which its `_create` makes.

    The arrays are fetched when they are read, before the table is full and at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._table: Table | None = None
        self._record: Any = None
        self._new: list[Any] = []

    def _read(self, name: str) -> Any:
        """The array of this name, out of `_up_to_date()`."""
        raise NotImplementedError

    def _digested(self, rows: np.ndarray) -> Any:
        """What rows are kept as."""
        raise NotImplementedError

    def _joined(self, records: Sequence[Any]) -> Any:
        """One record after the other, or what is kept of them."""
        raise NotImplementedError

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Fetches the table before it is full."""
        if self._table is not None and self._table.called():
            self._fetch()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Detaches the probe and frees its variables."""
        super().on_train_end(logs)
        self._finish()

    def _finish(self) -> None:
        self._up_to_date()
        self._table = None

    def _up_to_date(self) -> Any:
        self._fetch()
        self._join()
        return self._record

    def _join(self) -> None:
        if self._new:
            self._record = self._joined([self._record, *self._new])
            self._new = []

    def _fetch(self) -> None:
        if self._table is None:
            return
        rows = self._table.fetch()
        if rows.size:
            self._new.append(self._digested(rows))
        # Not each time, for joining copies all that there is.
        if len(self._new) >= PIECES:
            self._join()
