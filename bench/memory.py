"""Peak memory of one kind of work, in a process of its own: `peak(...)` starts it, this file's `main` is it.

Counted is what the process holds at its peak beyond what it held with all libraries loaded and its input made: RSS on
a CPU, what the allocator took on a GPU.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import BenchError


def peak(timeout: float = 600, **task: Any) -> dict[str, float]:
    """{"bytes", "seconds"} of a task, see `main`. Raises BenchError where it fails or takes too long."""
    command = [sys.executable, "-m", "bench.memory", json.dumps(task)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=Path(__file__).parents[1])
    except subprocess.TimeoutExpired:
        raise BenchError(f"memory of {task['work']}: not done within {timeout:.0f} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        why = "killed, out of memory?" if done.returncode < 0 else said[0]
        raise BenchError(f"memory of {task['work']}: {why}")
    return json.loads(done.stdout.splitlines()[-1])


def main(argument: str) -> None:
    """Does a task twice (a second step finds gradients and optimizer state) and prints its JSON.

    {"side": "ours" | [a PyTorch configuration], "work": "forward" | "step", "batch", "size": [H, W], "global_size",
    "width", "backend", "dtype"}; seconds are those of the second run.
    """
    task = json.loads(argument)
    from bench.network_work import inputs, our_work, torch_device
    from nn import Network
    from nn.backends import array_module_of

    ours, backend = task["side"] == "ours", task["backend"]
    data = inputs(task["batch"], *task["size"])
    if ours:
        xp = array_module_of(backend)
        before = held(backend, "resident")
        net = Network(task["width"], global_size=task["global_size"], backend=backend, dtype=task["dtype"], xp=xp)
        work = our_work(task["work"], net, data)
    else:
        from bench.torch_configs import Config, TorchSide

        net = Network(task["width"], global_size=task["global_size"])
        side = TorchSide(net, data, torch_device(backend))
        before = held(backend, "resident")  # our network, from which PyTorch's is copied, is not counted
        work = side.work(task["work"], Config(*task["side"]))
    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
    print(json.dumps({"bytes": held(backend, "peak", ours) - before, "seconds": seconds}))


def held(backend: str, what: str, ours: bool = True) -> int:
    """Bytes resident now, or at the peak so far. On a GPU: CuPy's pool, which only grows, or PyTorch's peak."""
    if backend == "gpu":
        if what == "resident":
            return 0
        if ours:
            import cupy

            return cupy.get_default_memory_pool().total_bytes()
        import torch

        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # no Linux: the peak stands for both
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    name = {"resident": "VmRSS:", "peak": "VmHWM:"}[what]
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main(sys.argv[1])
