"""Benchmarks against PyTorch and against the machine's limits."""


class BenchError(Exception):
    """Something a user can put right; one line says what, where and how."""


class CheckError(Exception):
    """A kernel's result is wrong; the message says which, how far off, and where first."""
