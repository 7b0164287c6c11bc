"""fold_batch_norm on random graphs, against an oracle that decides by itself."""

import pytest

from keras_dnn.models import fold_batch_norm
from tests.models.fold_cases import difference, normal, norms_in
from tests.models.fold_graphs import CHANNELS, SIZE, RandomGraph
from tests.models.fold_oracle import Oracle


def assert_folds_as_expected(seed):
    graph = RandomGraph(seed)
    oracle = Oracle(graph)

    result = fold_batch_norm(graph.model)

    assert set(result.folded) == oracle.folded
    assert set(result.kept) == oracle.names - oracle.folded
    assert len(norms_in(result.model)) == len(result.kept)
    assert result.max_error < 1e-5
    x = normal(2, SIZE, SIZE, CHANNELS, seed=seed)
    assert difference(graph.model, result.model, x) < 1e-4
    return result


@pytest.mark.parametrize("seed", range(10))
def test_random_graphs(seed):
    """Folding one that is folded finds nothing."""
    once = assert_folds_as_expected(seed)
    twice = fold_batch_norm(once.model)
    assert twice.folded == {}
    assert twice.kept.keys() == once.kept.keys()
    assert twice.max_error == 0


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.parametrize("first", range(10, 510, 50))
def test_many_random_graphs(first):
    for seed in range(first, first + 50):
        assert_folds_as_expected(seed)
