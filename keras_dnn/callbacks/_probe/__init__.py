"""The parts of a probe: the tap on the optimizer, the traced step, and its rows."""
