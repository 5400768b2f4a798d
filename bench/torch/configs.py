"""Every way to run the same network in PyTorch: arithmetic, memory layout, eager, compiled or frozen, optimizer."""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.torch import network as torch_network
from bench.torch.ops import slowness
from ltbc.nn import Network

RHO = 0.95
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
MODES = ("bf16 model", "bf16 autocast", "float32")
MAX = "max-autotune"
COMPILED = ("compiled", MAX)
Work = Callable[[], object]


class Config(NamedTuple):
    """One configuration. how: eager, compiled, jit frozen (forward on a CPU), or on a GPU eager as a CUDA graph, or
    compiled with max-autotune (which replays graphs, too). optimizer: foreach or loop (step only)."""

    mode: str
    layout: str
    how: str = "eager"
    optimizer: str = ""

    @property
    def name(self) -> str:
        return ", ".join(filter(None, ("torch " + self.mode, self.layout, self.how, self.optimizer)))


def configs(work: str, quick: bool = False, device: str = "cpu", modes: Sequence[str] = MODES) -> list[Config]:
    """In the order in which they are worth their time; compiled ones take minutes to make.

    On a CPU first those that are the fastest as a rule, one of every other kind, then those that repeat a kind.

    A compiled step takes the optimizer that is the faster one of the eager step: it is not part of what is compiled.
    modes: MODES, the most promising one first.
    """
    if device != "cpu":
        optimizer = "foreach" * (work == "step")
        eager = [Config(mode, layout, how, optimizer) for how in ("graph", "eager")
                 for layout, mode in product(LAYOUTS, MODES)]
        compiled = [Config(mode, "channels_last", how) for how in ("compiled", MAX) for mode in MODES[:2]]
        return eager if quick else eager + compiled
    if work == "forward":
        first = next(mode for mode in modes if mode != "bf16 autocast")  # which torch.jit cannot freeze
        eager = [Config(first, layout, "jit frozen") for layout in LAYOUTS]
        eager += [Config(mode, layout) for mode, layout in product(modes, LAYOUTS)]
    else:
        choices = product(("foreach", "loop"), modes, LAYOUTS)
        eager = [Config(mode, layout, "eager", optimizer) for optimizer, mode, layout in choices]
    compiled = [Config(mode, layout, "compiled") for layout, mode in product(LAYOUTS, modes)]
    return sorted(eager if quick else eager + compiled, key=lambda config: repeats_a_kind(config, modes[0]))


def repeats_a_kind(config: Config, promising: str) -> bool:
    """Whether a configuration differs only in layout or optimizer from another one that is tried before it."""
    if config.mode == promising and config.how != "compiled":
        return config.optimizer == "loop" and config.layout == "contiguous"
    return config.layout == "contiguous" or config.optimizer == "loop" or (
        config.how == "compiled" and config.mode != promising)


def refusal(config: Config, device: str) -> str:
    """Why a configuration cannot run here; "" where it can."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if config.how in COMPILED and device == "cpu" and not compiler:
        return "torch.compile needs a C++ compiler; install g++"
    return ""


class TorchSide:
    """Models and optimizers of all configurations; those alike in dtype and layout share one."""

    def __init__(self, net: Network, data: dict[str, np.ndarray], device: str = "cpu") -> None:
        self.net, self.device = net, device  # net: of NumPy arrays
        slow = device == "cpu" and slowness(device, torch.get_num_threads())["bfloat16"] > 1
        self.promising = MODES[::-1] if slow else MODES
        self.x, self.target = (torch_network.nchw(data[k]).to(device) for k in ("luminance", "chroma"))
        self.labels = torch.from_numpy(data["labels"]).to(device)
        self.models: dict[tuple, torch.nn.Module] = {}
        self.optimizers: dict[tuple, torch.optim.Optimizer] = {}

    def model(self, config: Config) -> torch.nn.Module:
        key = config.layout, config.mode == "bf16 model"
        if key not in self.models:
            model = torch_network.from_network(self.net).to(self.device)
            model = model.bfloat16() if key[1] else model
            self.models[key] = model.to(memory_format=LAYOUTS[config.layout])  # type: ignore[call-overload]
        return self.models[key]

    def input(self, config: Config) -> torch.Tensor:
        x = self.x.bfloat16() if config.mode == "bf16 model" else self.x
        return x.contiguous(memory_format=LAYOUTS[config.layout])

    def autocast(self, config: Config) -> Any:
        return torch.autocast(self.device, torch.bfloat16, enabled=config.mode == "bf16 autocast")

    def work(self, work: str, config: Config) -> Work:
        """The function to be timed; compiling happens at its first call."""
        function = self.forward(config) if work == "forward" else TorchStep(self, config)
        return as_graph(function) if config.how == "graph" else function

    def forward(self, config: Config) -> Work:
        model: Any = self.model(config)
        x = self.input(config)
        if config.how in COMPILED:
            model = compiled(model, config)
        if config.how == "jit frozen":
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit: what it was is still measured
                model = torch.jit.freeze(torch.jit.trace(model.eval(), x))

        def run() -> None:
            with torch.no_grad(), self.autocast(config):
                model(x)

        return run

    def optimizer(self, config: Config) -> torch.optim.Optimizer:
        key = config.layout, config.mode == "bf16 model", config.optimizer, config.how == "graph"
        if key not in self.optimizers:
            parameters = self.model(config).parameters()
            how = {"foreach": config.optimizer == "foreach", "capturable": config.how == "graph"}
            self.optimizers[key] = torch.optim.Adadelta(parameters, rho=RHO, **how)
        return self.optimizers[key]


def compiled(function: Any, config: Config) -> Any:
    torch._dynamo.config.recompile_limit = 64  # by default 8, after which configurations would run as eager ones
    return torch.compile(function, dynamic=False, mode=MAX if config.how == MAX else None)


def as_graph(function: Work) -> Work:
    """The replay of a CUDA graph of what the function starts, after PyTorch's own recipe."""
    for _ in range(3):
        function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


class TorchStep:
    """A training step; `parts` collects the seconds of forward, backward and optimizer of every run on a CPU."""

    def __init__(self, side: TorchSide, config: Config) -> None:
        self.side, self.config, self.x = side, config, side.input(config)
        model: Any = side.model(config)
        self.loss, self.optimizer = model.loss, side.optimizer(config)
        if config.how in COMPILED:
            self.loss = compiled(self.loss, config)
        self.parts: list[dict[str, float]] = []

    def __call__(self) -> None:
        marks = [self.now()]
        self.optimizer.zero_grad()
        with self.side.autocast(self.config):
            loss = self.loss(self.x, self.side.target, self.side.labels)
        marks.append(self.now())
        loss.backward()
        marks.append(self.now())
        self.optimizer.step()
        marks.append(self.now())
        self.parts.append(dict(zip(("forward", "backward", "optimizer"), map(float, np.diff(marks)))))

    def now(self) -> float:
        return time.perf_counter()
