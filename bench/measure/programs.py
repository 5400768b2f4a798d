"""Whole programs as a user starts them, measured from outside: colorizing file to file, training in processes."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from bench import BenchError
from bench.measure.timing import Others
from ltbc.nn import Network

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ROOT / "train/photographs"
PICTURE = PHOTOGRAPHS / "held_out/mountain/great-wall-of-china.jpg"
SKIPPED, STEPS = 2, 5  # steps of training before those that count, and those
TIMEOUT = 300.0  # seconds that a program may take


class Done(NamedTuple):
    """A program that has ended: wall time and the resident memory of its largest process, libraries included."""

    seconds: float
    bytes: int


def done(command: Sequence[Any], **environment: str) -> Done:
    """Runs `python COMMAND` to its end. Raises BenchError with the last line that it says where it fails."""
    with tempfile.TemporaryFile() as said:
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, env=os.environ | environment,
                                   stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        limit = threading.Timer(TIMEOUT, process.kill)
        limit.start()
        try:
            _, status, used = os.wait4(process.pid, 0)  # of its own processes, too
        except BaseException:
            process.kill()
            raise
        finally:
            limit.cancel()
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines() or ["no message"]
            why = "killed: out of memory, or not done in time" if process.returncode < 0 else lines[-1]
            raise BenchError(f"{' '.join(map(str, command[:2]))}: {why}")
        return Done(seconds, used.ru_maxrss << (10 if sys.platform == "linux" else 0))


def colorize(
    side: int, global_size: int, width: float, backend: str, dtype: str, render: str = "", runs: int = 3
) -> dict[str, Any]:
    """`ltbc colorize` from a JPEG of side x side to a PNG, start-up included, with an untrained network.

    render: `--render-size`, default the program's own. As `memory.peak`: {"bytes", "seconds", "others"}.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights, picture = Path(folder, "weights.safetensors"), Path(folder, "picture.jpg")
        Network(width, global_size=global_size).save(weights)
        Image.open(PICTURE).resize((side, side), Image.Resampling.BICUBIC).save(picture, quality=90)
        command = ["-m", "colorize", picture, "--out", Path(folder, "color.png"), "--force", "--weights", weights,
                   "--backend", backend, "--dtype", dtype, *(["--render-size", render] if render else [])]
        done(command)  # reads the libraries from the disk, compiles what is new
        with Others() as others:
            found = [done(command) for _ in range(runs)]
    return {"bytes": max(one.bytes for one in found), "seconds": [one.seconds for one in found], "others": others.share}


def train(
    processes: int, batch: int, size: int, width: float, backend: str, dtype: str, alone: bool = False
) -> dict[str, Any]:
    """Steps of `torchrun -m ltbc.train` on the sample photographs, with all that belongs to a step: reading, sending.

    batch: of all processes together. alone: each computes on one core. As `memory.peak`; bytes: of the largest process.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, "-m", "train",
                   PHOTOGRAPHS / "train", "--out", folder, "--force", "--steps", SKIPPED + STEPS, "--batch", batch,
                   "--crop", size, "--width", width, "--backend", backend, "--dtype", dtype]
        with Others() as others:
            found = done(command, OMP_NUM_THREADS="1", **({"LTBC_THREADS": "1"} if alone else {}))
        lines = Path(folder, "metrics.jsonl").read_text().splitlines()
    ends = [json.loads(line)["seconds"] for line in lines]
    seconds = [after - before for before, after in zip(ends, ends[1:])][SKIPPED - 1 :]
    return {"bytes": found.bytes, "seconds": seconds, "others": others.share}
