"""Monte Carlo sampling: the split, the random numbers, the statistics."""
