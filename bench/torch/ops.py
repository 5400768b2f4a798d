"""The same calls in PyTorch, in every dtype and layout that may be its fastest; its own backward of its own forward."""

import time
from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.measure.cases import Case
from bench.measure.machine import thread_count
from bench.torch.network import activate

Tensor = torch.Tensor
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
EMULATED = 8.0  # times slower than float32: a dtype that this machine has no instructions for


def torch_calls(
    case: Case, arrays: dict[str, np.ndarray], device: str = "cpu", dtypes: Iterable[str] = ("float32",)
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """What makes functions, by name, that do in PyTorch what the case does, on the same values, rounded to each of the
    dtypes and in each layout; empty where it has nothing alike."""
    if case.op == "color":
        return {}
    if case.op == "adadelta":
        return {f"torch {how}": lambda how=how: adadelta(  # type: ignore[misc]
            tensors(arrays, device), case.options["rho"], how == "foreach") for how in ("foreach", "loop")}
    if case.op.endswith("_loss"):
        return {"torch float32": lambda: torch_call(case, tensors(arrays, device))}
    layouts = LAYOUTS if any(x.ndim == 4 for x in arrays.values()) else {"": torch.contiguous_format}
    return {
        " ".join(filter(None, ("torch", dtype, name))):
            lambda dtype=dtype, name=name: torch_call(  # type: ignore[misc]
                case, tensors(arrays, device, getattr(torch, dtype), layouts[name]))
        for dtype, name in product(dtypes, layouts)
    }


def torch_call(case: Case, tensors: dict[str, Tensor]) -> Callable[[], Any]:
    forward, inputs = forward_of(case, tensors)
    if case.work == "forward":
        return without_gradients(forward, inputs)
    if case.work == "backward":
        return backward(forward, inputs, case, tensors["dy"])
    return value_and_gradient(forward, inputs)


@cache
def slowness(device: str, threads: int) -> dict[str, float]:
    """How many times as long as in the faster one a small convolution takes PyTorch in bfloat16 and in float32."""
    seconds = {}
    for dtype in ("bfloat16", "float32"):
        kind = getattr(torch, dtype)
        x, w = torch.ones(1, 64, 28, 28, dtype=kind, device=device), torch.ones(64, 64, 3, 3, dtype=kind, device=device)
        runs = []
        with torch.no_grad():
            for _ in range(4):
                begun = time.perf_counter()
                F.conv2d(x, w, padding=1).sum().item()
                runs.append(time.perf_counter() - begun)
        seconds[dtype] = min(runs[1:])
    return {dtype: t / min(seconds.values()) for dtype, t in seconds.items()}


def promising(device: str) -> list[str]:
    """Dtypes of PyTorch's, the fastest first, without those that this machine only emulates."""
    found = slowness(device, torch.get_num_threads())
    return sorted((dtype for dtype in found if found[dtype] <= EMULATED), key=found.__getitem__)


def emulated(device: str) -> str:
    """A few words about dtypes that are not worth trying; "" where there are none."""
    found = slowness(device, torch.get_num_threads())
    return ", ".join(f"{dtype} takes it {times:.0f} times as long as its fastest dtype on a small convolution"
                     for dtype, times in found.items() if times > EMULATED)


def configure(backend: str) -> None:
    """As many threads as ours has; on a GPU the TF32 setting of our kernels, and cuDNN's own search."""
    torch.set_num_threads(thread_count())
    if backend == "gpu":
        from bench.measure.timing import one_stream
        from ltbc.kernels.gpu import launch

        one_stream()
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = launch.precision() == "tf32"


def tensors(
    arrays: dict[str, np.ndarray], device: str, dtype: torch.dtype | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> dict[str, Tensor]:
    return {name: tensor(x, device, dtype, layout, weights=name == "w") for name, x in arrays.items()}


def tensor(
    x: np.ndarray, device: str, dtype: torch.dtype | None, layout: torch.memory_format, weights: bool
) -> Tensor:
    """A copy of x, floats in that dtype; `[N, H, W, C]` becomes `[N, C, H, W]`, weights `[Cout, Cin, 3, 3]`."""
    t = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if x.dtype.name == "bfloat16" else torch.from_numpy(x)
    t = t.to(device, dtype if t.is_floating_point() else None, copy=True)
    if t.ndim < 4:
        return t
    return t.permute(*((3, 2, 0, 1) if weights else (0, 3, 1, 2))).contiguous(memory_format=layout)


def forward_of(case: Case, t: dict[str, Tensor]) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """The operation as a function of tensors, and those of the case. PyTorch wants biases in the weights' dtype."""
    if case.op == "class_loss":
        if case.options["kind"] == "softmax":
            return lambda z: F.cross_entropy(z, t["labels"]), [t["z"]]
        onehot = F.one_hot(t["labels"], t["z"].shape[1]).to(t["z"].dtype)
        count = len(onehot)
        return lambda z: F.binary_cross_entropy_with_logits(z, onehot, reduction="sum") / count, [t["z"]]
    if case.op == "chroma_loss":
        return lambda y: F.mse_loss(y, t["target"]), [t["y"]]
    if case.op == "upsample2x":
        x = t["x"] if "x" in t else F.avg_pool2d(t["dy"], 2)  # of the right size and layout; values do not matter
        return lambda x: F.interpolate(x, scale_factor=2), [x]
    act, w = case.options["activation"], t["w"]
    b = t["b"].to(w.dtype) if "b" in t else torch.zeros(w.shape[0 if w.ndim == 4 else 1], dtype=w.dtype)
    if case.op == "linear":
        return lambda x, w, b: activate(F.linear(x, w, b), act), [t["x"], w.T.contiguous(), b.to(w.device)]
    if case.op == "fusion":
        return lambda *inputs: activate(fusion(*inputs), act), [t["mid"], t["global_"], w.T.contiguous(), b]
    if case.op == "upsample2x_conv3x3":
        larger = lambda x: F.interpolate(x, scale_factor=2)  # noqa: E731
        return lambda x, w, b: activate(F.conv2d(larger(x), w, b, padding=1), act), [t["x"], w, b]
    stride = case.options["stride"]
    return lambda x, w, b: activate(F.conv2d(x, w, b, stride=stride, padding=1), act), [t["x"], w, b]


def fusion(mid: Tensor, vector: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Without the concatenation, as in `torch_network`: the global half once an image."""
    cut = vector.shape[1]
    return F.conv2d(mid, w[:, cut:, None, None], b) + F.linear(vector, w[:, :cut])[:, :, None, None]


def without_gradients(forward: Callable[..., Tensor], inputs: list[Tensor]) -> Callable[[], Any]:
    def run() -> Tensor:
        with torch.no_grad():
            return forward(*inputs)

    return run


def backward(forward: Callable[..., Tensor], inputs: list[Tensor], case: Case, dy: Tensor) -> Callable[[], Any]:
    """Autograd's backward alone, of a forward pass done beforehand."""
    first = not case.options.get("needs_dx", True)
    leaves = [x.requires_grad_(not (first and i == 0)) for i, x in enumerate(inputs)]
    y = forward(*leaves)
    dy, wanted = dy.to(y.dtype), [x for x in leaves if x.requires_grad]
    return lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)


def value_and_gradient(loss: Callable[..., Tensor], inputs: list[Tensor]) -> Callable[[], Any]:
    (y,) = [x.requires_grad_() for x in inputs]
    return lambda: torch.autograd.grad(loss(y), y)


def adadelta(t: dict[str, Tensor], rho: float, foreach: bool) -> Callable[[], Any]:
    p = t["p"].requires_grad_()
    p.grad = t["g"]
    optimizer = torch.optim.Adadelta([p], rho=rho, foreach=foreach)
    return optimizer.step
