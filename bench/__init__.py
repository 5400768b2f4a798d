"""Benchmarks against PyTorch and against the machine's limits."""


class BenchError(Exception):
    """Something a user can put right; one line says what, where and how."""
