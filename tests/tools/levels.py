"""`make test-levels`: the tests of what computes once more, at each lower level of the cpu backend's instructions.

With a level go another number of threads, and another order of the reference's sums: OpenBLAS adds up in the blocks of
the processor that it is told. Levels that this CPU lacks are named and left out.
"""

import os
import subprocess
import sys

from ltbc.kernels.cpu.machine import available
from tests import ROOT

KERNELS = sorted(str(path) for path in ROOT.glob("tests/kernels/test_cpu_*.py"))
RUNS = (  # level, threads, OpenBLAS's processor, tests: of one level between the usual ones the kernels' are enough
    ("avx512", 2, "Sandybridge", KERNELS),
    ("avx2", 1, "Nehalem", []),
    ("generic", 3, "Prescott", []),
)
LEFT_OUT = (  # pages, Triton's interpreter and compiler, planted errors, files: the same whatever the level
    "bad_images", "bench_gpu", "fuzz_images", "gpu_*", "graph", "launch", "layering", "metadata", "mutations", "on_gpu",
    "pack*", "serve", "study", "tags", "telling", "tiff",
)


def main(options: list[str]) -> int:
    failed, levels = [], [level.name for level in available()]
    for level, threads, processor, tests in RUNS:
        if level not in levels or level == levels[0] == "avx512":
            why = "make test runs it" if level in levels else "this CPU has no such level"
            print(f"levels: {level} left out, {why}", flush=True)
            continue
        settings = {"LTBC_CPU": level, "LTBC_THREADS": str(threads), "OPENBLAS_CORETYPE": processor}
        print("levels:", *(f"{name}={value}" for name, value in settings.items()), flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not slow", *tests, *options]
        command += [f"--ignore-glob=*/test_{name}.py" for name in LEFT_OUT]
        if subprocess.run(command, cwd=ROOT, env=os.environ | settings).returncode:
            failed.append(level)
    print("levels:", f"failed at {', '.join(failed)}" if failed else "all passed", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
