"""Clusters of local processes that end with the test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from keras_dnn.distribution import launch

Run = Callable[..., tuple[list[int], list[str]]]


@pytest.fixture(scope="session")
def run_workers() -> Run:
    """Runs a script on workers; returns their exit statuses and what they printed."""

    def run(
        folder: Path, script: str, *arguments: str, workers: int = 2, grace: float = 20
    ) -> tuple[list[int], list[str]]:
        with pytest.MonkeyPatch.context() as patch:
            root = Path(__file__).parents[2]
            patch.setenv("PYTHONPATH", str(root))
            patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
            patch.setenv("TMPDIR", str(folder))
            statuses = launch(
                Path(__file__).with_name(script),
                arguments,
                workers=workers,
                timeout=300,
                grace=grace,
                log_dir=folder,
            )
        logs = [(folder / f"worker-{i}.log").read_text() for i in range(workers)]
        return statuses, logs

    return run
