"""What probes are made of: the tap on the optimizer, and what a step writes to."""
