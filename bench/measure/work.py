"""What `network`, `scaling` and `memory` run of ours: inputs, forward pass, training step, and is it right."""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import CheckError
from bench.measure.calls import arguments, call, place
from bench.measure.cases import color_cases
from bench.measure.check import Allowed, allowed, compare
from bench.options import CLASSES
from bench.torch.configs import RHO
from ltbc.kernels.compare import relative_error, to_float64
from ltbc.nn import Adadelta, Network, Settings
from ltbc.nn.graph import Replay

Data = dict[str, Any]  # arrays by name


def inputs(batch: int, height: int, width: int) -> Data:
    """A batch of random pictures as the network takes them: luminance, chroma at half resolution, labels."""
    rng = np.random.default_rng(0)
    return {
        "luminance": rng.uniform(-1, 1, (batch, height, width, 1)).astype(np.float32),
        "chroma": rng.uniform(0.3, 0.7, (batch, height // 2, width // 2, 2)).astype(np.float32),
        "labels": rng.integers(0, CLASSES, batch),
    }


def torch_device(backend: str) -> str:
    return "cuda" if backend == "gpu" else "cpu"


def our_work(work: str, net: Network, data: Data) -> Callable[[], object]:
    """A function that does the work once; on a GPU from its second call on by replaying a graph."""
    data = {name: net.xp.asarray(x) for name, x in data.items()}
    if work == "step":
        return OurStep(net, data)
    forward = Replay(net, lambda luminance: net.forward(luminance))
    return lambda: forward(luminance=data["luminance"])


class OurStep:
    """A training step; `parts` collects the seconds of forward, backward and optimizer of every run on a CPU."""

    def __init__(self, net: Network, data: Data) -> None:
        self.net, self.data, self.optimizer = net, data, Adadelta(net, rho=RHO)
        self.parts: list[dict[str, float]] = []
        self.backward_seconds = 0.0
        self.replay = Replay(net, self.step)
        backward = net.backward

        def timed(*args: Any, **kwargs: Any) -> None:
            start = self.now()
            backward(*args, **kwargs)
            self.backward_seconds += self.now() - start

        net.backward = timed  # type: ignore[method-assign]

    def step(self, **data: Any) -> dict[str, Any]:
        losses = self.net.loss_and_gradients(**data)
        self.optimizer.step()
        return losses

    def __call__(self) -> None:
        if self.net.backend == "gpu":  # to wait between its parts would slow it down
            self.replay(**self.data)
            return
        start, self.backward_seconds = self.now(), 0.0
        self.net.loss_and_gradients(**self.data)
        end = self.now()
        self.optimizer.step()
        forward = end - start - self.backward_seconds
        self.parts.append(
            {"forward": forward, "backward": self.backward_seconds, "optimizer": self.now() - end}
        )

    def now(self) -> float:
        return time.perf_counter()

    @staticmethod
    def medians(parts: list[dict[str, float]]) -> dict[str, float]:
        """Of each part over the runs, the first left out: it allocates."""
        later = parts[1:] or parts
        return {name: float(np.median([run[name] for run in later])) for name in later[0]}


def data_seconds(batch: int, size: int, backend: str) -> float:
    """Median time of turning a batch of pixels into luminance and chroma (reading files goes on beside training)."""
    case = next(color_cases(Settings(classes=("1",)), size, batch))
    encode = call(case, place(arguments(case, "float32"), backend), "float32", backend)
    runs = []
    for _ in range(6):
        start = time.perf_counter()
        encode()
        runs.append(time.perf_counter() - start)
    return float(np.median(runs[1:]))


def check_network(net: Network, size: int) -> str:
    """Holds forward pass and gradients on two pictures against PyTorch in float32; one line that says how near.

    The limit is the layers' tolerances in quadrature, since their roundings are independent; three times as many of
    them lie on the way to a gradient. PyTorch's weights and activations are not rounded to storage. Raises CheckError.
    """
    from bench.measure.cases import cases
    from bench.torch import network as torch_network

    data = inputs(2, size, size)
    theirs = torch_network.from_network(on_host(net))
    luminance, chroma = torch_network.nchw(data["luminance"]), torch_network.nchw(data["chroma"])
    want = theirs(luminance)[0].detach().numpy().transpose(0, 2, 3, 1)
    theirs.loss(luminance, chroma, torch_network.torch.from_numpy(data["labels"])).backward()
    gradients = torch_network.gradients(theirs)
    layers = [case for case in cases(net.settings, size, 2) if case.flops and case.work == "forward"]
    limit = np.sqrt(sum(allowed(case, "y", net.backend, net.dtype, exact=False).value ** 2 for case in layers))
    placed = {name: net.xp.asarray(x) for name, x in data.items()}
    net.loss_and_gradients(**placed)
    found = {name: to_float64(net.gradients.views[name]) for name in gradients}
    predicted = to_float64(net.forward(placed["luminance"])[0])
    flat = [np.concatenate([x.ravel() for x in side.values()]) for side in (found, gradients)]
    errors = {"chroma": relative_error(predicted, want), "gradients": relative_error(*flat)}
    limits = {"chroma": limit, "gradients": limit * np.sqrt(3)}
    line = ", ".join(f"{name} {error:.1e} (limit {limits[name]:.1e})" for name, error in errors.items())
    if any(not error <= limits[name] for name, error in errors.items()):
        print(f"the network is not PyTorch's: relative errors of {line}", file=sys.stderr)
        compare("the network's chroma", predicted, want, Allowed(limit, "that of the layers in quadrature"))
        for name, g in gradients.items():
            compare(f"the gradient of {name}", found[name], g, Allowed(limits["gradients"], "as above, thrice"))
        raise CheckError("all its gradients together, though none by itself")
    return f"relative errors against PyTorch in float32 of {line}"


def on_host(net: Network) -> Network:
    """A network of NumPy arrays with the same parameters, from which PyTorch's can be copied."""
    if net.backend != "gpu":
        return net
    twin = Network(net.settings.width, net.settings.classes, net.settings.global_size)
    twin.parameters.flat[...] = net.parameters.flat.get()
    return twin
