"""Healthy and sick networks for `compare_diagnoses.py` and `compare_cures.py`."""
