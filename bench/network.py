"""`python -m bench network`: forward pass and training step of the whole network, ours and PyTorch's, in one run."""

import argparse
import json
from collections.abc import Callable, Iterator

import numpy as np
import torch

from bench import torch_network
from bench.machine import core_count, machine
from bench.timing import interleaved, ratio
from nn import Adadelta, Network, default_backend

RHO = 0.95
NOISY = 0.15  # a ratio whose 20th and 80th percentile lie further apart than this share of it is marked
COLUMNS = "{:<8} {:>5}  {:<44} {:>9} {:>7} {:>13}"


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench network", description=__doc__)
    parser.add_argument("--backend", default=default_backend(), help="ours: reference, cpu or gpu")
    parser.add_argument("--dtype", default="float32", help="of our activations: float32, or bfloat16 where there is it")
    parser.add_argument("--work", choices=("forward", "step", "both"), default="both")
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", nargs="+", default=["float32", "bf16"], choices=("float32", "bf16"),
                        help="arithmetic of PyTorch's configurations")
    parser.add_argument("--json", help="also write the results into this file")
    args = parser.parse_args(argv)
    torch.set_num_threads(core_count())
    works = ("forward", "step") if args.work == "both" else (args.work,)
    results = []
    print(f"{machine()['cpu']}, {core_count()} cores; width {args.width:g}, {args.size}x{args.size}, 205 classes")
    print(COLUMNS.format("work", "batch", "configuration", "median", "ratio", "20 to 80 %"))
    for work in works:
        for batch in args.batch:
            result = measure(work, batch, args)
            results.append(result)
            print_result(result)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


def measure(work: str, batch: int, args: argparse.Namespace) -> dict:
    """Times of one kind of work at one batch size, as in the JSON output; seconds are medians of the rounds."""
    rng = np.random.default_rng(0)
    data = {
        "luminance": rng.uniform(-1, 1, (batch, args.size, args.size, 1)).astype(np.float32),
        "chroma": rng.uniform(0.3, 0.7, (batch, args.size // 2, args.size // 2, 2)).astype(np.float32),
        "labels": rng.integers(0, 205, batch),
    }
    net = Network(args.width, global_size=args.size, backend=args.backend, dtype=args.dtype)
    name = f"ours: {args.backend} {args.dtype}"
    functions = {name: our_work(work, net, data)}
    for config, function in torch_work(work, net, data, args.torch):
        functions[config] = function
    times = interleaved(functions, args.rounds)
    ours = times.pop(name)
    ratios = {config: ratio(theirs, ours) for config, theirs in times.items()}
    best = min(times, key=lambda config: times[config].median)
    return {
        "machine": machine(), "work": work, "batch": batch, "ours": name, "ours_s": ours.median,
        "torch_s": {config: theirs.median for config, theirs in times.items()},
        "ratios": ratios, "best": best, "ratio_best": ratios[best][0], "spread": ratios[best][1:],
    }


def our_work(work: str, net: Network, data: dict) -> Callable[[], object]:
    if work == "forward":
        return lambda: net.forward(data["luminance"])
    optimizer = Adadelta(net, rho=RHO)

    def step() -> None:
        net.loss_and_gradients(**data)
        optimizer.step()

    return step


def torch_work(
    work: str, net: Network, data: dict, arithmetic: list[str]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every configuration of PyTorch by name: eager, both layouts, float32, bf16 autocast, the model in bf16."""
    luminance = torch_network.nchw(data["luminance"])
    target, labels = torch_network.nchw(data["chroma"]), torch.from_numpy(data["labels"])
    for layout in (torch.contiguous_format, torch.channels_last):
        name = "channels_last" if layout is torch.channels_last else "contiguous"
        model = torch_network.from_network(net).to(memory_format=layout)
        x = luminance.contiguous(memory_format=layout)
        for mode in arithmetic:
            if work == "step":
                yield f"torch {mode}{' autocast' * (mode == 'bf16')} {name}", torch_step(model, x, target, labels, mode)
            elif mode == "float32":
                yield f"torch float32 {name}", inference(model, x)
            else:
                yield f"torch bf16 autocast {name}", inference(model, x, autocast=True)
                low, y = torch_network.from_network(net).bfloat16().to(memory_format=layout), x.bfloat16()
                yield f"torch model in bf16 {name}", inference(low, y)
                with torch.no_grad():
                    frozen = torch.jit.freeze(torch.jit.trace(low.eval(), y))
                yield f"torch model in bf16, jit frozen, {name}", inference(frozen, y)


def inference(model: torch.nn.Module, x: torch.Tensor, autocast: bool = False) -> Callable[[], object]:
    def run() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            model(x)

    return run


def torch_step(model: torch.nn.Module, x: torch.Tensor, target: torch.Tensor, labels: torch.Tensor, mode: str):
    optimizer = torch.optim.Adadelta(model.parameters(), rho=RHO, foreach=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bf16"):
            loss = model.loss(x, target, labels)
        loss.backward()
        optimizer.step()

    return step


def print_result(result: dict) -> None:
    row = result["work"], result["batch"]
    print(COLUMNS.format(*row, result["ours"], f"{1e3 * result['ours_s']:.1f} ms", "", ""))
    for config, seconds in sorted(result["torch_s"].items(), key=lambda item: item[1]):
        middle, low, high = result["ratios"][config]
        noisy = " noisy" if high - low > NOISY * middle else ""
        spread = f"{low:.2f} to {high:.2f}{noisy}"
        print(COLUMNS.format(*row, config, f"{1e3 * seconds:.1f} ms", f"{middle:.2f}", spread))
