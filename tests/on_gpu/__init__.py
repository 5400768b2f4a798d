"""What `make gpu` runs on a machine with a GPU: `python -m tests.on_gpu --help`. `test_on_gpu.py` runs the same checks
under Triton's interpreter."""
