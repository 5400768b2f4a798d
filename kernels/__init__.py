"""The network's operations, one folder each: contract, reference, cpu, gpu. Start with kernels/README.md."""
