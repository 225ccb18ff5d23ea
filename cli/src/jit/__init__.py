"""The `jit` command: a person's terminal, speaking to the portal's JSON API and nothing else."""

__version__ = "0.1.0"
