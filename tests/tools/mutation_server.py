"""Runs tests, each in a fork of one process that has loaded what they import: `test_mutations` starts it.

Reads lines "report-file argument...", runs pytest with the arguments in the working directory, answers with its exit
code. The project's own modules are loaded in the fork only: every run sees the sources as they are at that moment.
"""

import gc
import os
import signal
import sys

import hypothesis.extra.numpy  # noqa: F401
import pytest
import skimage.color  # noqa: F401
import torch

SECONDS = 120  # for one run: a mutation may not end
ABSENT = ("cacheprovider", "xdist", "unraisableexception", "threadexception")  # two collect garbage: half the time


def run(report: str, arguments: list[str]) -> None:
    signal.alarm(SECONDS)
    file = os.open(report, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    absent = [option for plugin in ABSENT for option in ("-p", f"no:{plugin}")]
    code = pytest.main(["-x", "-q", "--tb=short", "--disable-warnings", *absent, *arguments])
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    torch.set_num_threads(1)
    torch.optim.Adadelta([torch.zeros(1, requires_grad=True)])  # the first optimizer loads much
    gc.freeze()
    for line in sys.stdin:
        report, *arguments = line.split()
        if not (child := os.fork()):
            run(report, arguments)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
