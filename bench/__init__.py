"""Benchmarks against PyTorch and against the machine's limits."""
