"""Gradients by finite differences, in float64."""
