"""A whole portal on one machine, to try it out: `make demo`."""
