"""What test_distributed.py starts under torchrun: OUT PHOTOS STEPS. Trains, and writes what this process holds."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from ltbc.train import TrainError
from ltbc.train.distributed import Group, join
from ltbc.train.options import parse, settle
from ltbc.train.run import Run
from ltbc.train.source import read_pictures

out, photos, steps, *more = sys.argv[1:]
options = parse([photos, "--out", out, "--width", "0.05", "--crop", "16", "--batch", "6", "--scale", "1", *more])
world = join()
settings = settle(options, None)
run = Run(Path(out), settings, *read_pictures(settings, world), world)
sent, backward = [], []  # elements on their way, when which layer was done
if isinstance(world, Group):
    import ltbc.train.distributed

    ltbc.train.distributed.BUCKET = 5000
    reduce = world.torch.distributed.all_reduce
    world.torch.distributed.all_reduce = lambda x, **how: sent.append((len(backward), x.numel())) or reduce(x, **how)
    run.done = lambda layer: backward.append(layer) or world.done(layer)
stream, found = run.batches(), {}
for step in range(int(steps)):
    batch = next(stream)
    losses = run.gradients(batch, 0)
    found[f"gradients {step}"] = run.net.gradients.flat.copy()
    found[f"losses {step}"] = np.array(list(losses.values()))
    if step == 0:
        found |= {"sent": np.array(sent), "layers": np.array(len(backward))}
    run.optimizer.step()
stream.close()
threads = {"cpu": lambda: import_module("ltbc.kernels.cpu.threads").threads()}.get(settings["backend"], lambda: 0)()
world.check_same(run.net.parameters.flat)
weights, told = run.net.parameters.flat.copy(), ""
weights[-1] = np.nextafter(weights[-1], 9) if world.rank else weights[-1]  # the last bit of one of them
try:
    world.check_same(weights)
except TrainError as error:
    told = str(error)
np.savez(f"{out}.{world.rank}.npz", weights=run.net.parameters.flat, threads=threads, told=told, **found)
world.close()
