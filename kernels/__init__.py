"""The network's operations, one folder each: contract, reference, cpu, gpu. Start with kernels/README.md."""

from ltbc import only_as_ltbc

only_as_ltbc(__name__)
