"""Peak memory of one kind of work, in a process of its own: `peak(...)` starts it, this file's `main` is it.

Counted is what the process holds at its peak beyond what it held with all libraries loaded and its input made: RSS on
a CPU, what the allocator took on a GPU.
"""

from ltbc import program

if __name__ == "__main__":
    program.begin()

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import BenchError


def peak(timeout: float = 600, **task: Any) -> dict[str, Any]:
    """{"bytes", "seconds": [run after run], "others": share of the cores} of a task, see `main`.

    Raises BenchError where it fails or takes longer than `timeout` seconds.
    """
    command = [sys.executable, "-m", "bench.measure.memory", json.dumps(task)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=Path(__file__).parents[2])
    except subprocess.TimeoutExpired:
        raise BenchError(f"memory of {task['work']}: not done within {timeout:.0f} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        why = "killed, out of memory?" if done.returncode < 0 else said[0]
        raise BenchError(f"memory of {task['work']}: {why}")
    return json.loads(done.stdout.splitlines()[-1])


def main(argument: str) -> None:
    """Does a task and prints its JSON. Warms up first: a forward pass three times (from their third use on, ours keeps
    packed weights), a step once (a second one finds gradients and optimizer state). Then at least `runs` times, and for
    about a second where there is more than one.

    {"side": "ours" | [a PyTorch configuration], "work": "forward" | "step", "batch", "size": [H, W], "global_size",
    "width", "backend", "dtype", "runs"}
    """
    task = json.loads(argument)
    from bench.measure.timing import Events, Others, Wall
    from bench.measure.work import inputs, our_work, torch_device
    from ltbc.nn import Network
    from ltbc.nn.backends import array_module_of

    ours, backend = task["side"] == "ours", task["backend"]
    data, tiny = inputs(task["batch"], *task["size"]), inputs(1, 32, 32)
    if ours:
        xp = array_module_of(backend)
        small = Network(0.05, global_size=32, backend=backend, dtype=task["dtype"], xp=xp)
        our_work(task["work"], small, tiny)()  # loads compiled code
        del small
        before = held(backend, "resident")
        net = Network(task["width"], global_size=task["global_size"], backend=backend, dtype=task["dtype"], xp=xp)
        work = our_work(task["work"], net, data)
    else:
        from bench.torch.configs import Config, TorchSide

        net = Network(task["width"], global_size=task["global_size"])
        small = Network(0.05, global_size=32)
        TorchSide(small, tiny, torch_device(backend)).work(task["work"], Config(*task["side"])._replace(how="eager"))()
        del small
        side = TorchSide(net, data, torch_device(backend))
        before = held(backend, "resident")  # our network, from which PyTorch's is copied, is not counted
        work = side.work(task["work"], Config(*task["side"]))
    clock = Events(flushed=False) if backend == "gpu" else Wall(flushed=False)
    for _ in range(3 if task["work"] == "forward" else 1):
        clock.time(work)
    seconds: list[float] = []
    runs = task.get("runs", 1)
    with Others() as others:
        while len(seconds) < runs or runs > 1 and sum(seconds) < 1 and len(seconds) < 20:
            seconds.append(clock.time(work))
    print(json.dumps({"bytes": held(backend, "peak", ours) - before, "seconds": seconds, "others": others.share}))


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
    parser = argparse.ArgumentParser("python -m bench.measure.memory", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("task", help="JSON, as `main` takes it")
    main(parser.parse_args().task)
