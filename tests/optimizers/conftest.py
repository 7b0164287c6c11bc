"""Fixtures of the tests of optimizers."""

import pytest


@pytest.fixture
def explained(capsys):
    """The lines that `optimizer.explain()` prints, without their margins."""

    def lines(optimizer):
        capsys.readouterr()
        assert optimizer.explain() is None
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return lines
