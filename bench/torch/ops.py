"""The same calls in PyTorch: equal dtype, channels_last, its own backward of its own forward."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.measure.cases import Case
from bench.measure.machine import core_count
from bench.torch.network import activate

Tensor = torch.Tensor


def torch_calls(case: Case, arrays: dict[str, np.ndarray], device: str = "cpu") -> dict[str, Callable[[], Any]]:
    """Functions by name that do in PyTorch what the case does, on the same values; empty where it has nothing alike."""
    tensors = {name: tensor(x, device) for name, x in arrays.items()}
    if case.op == "adadelta":
        return {f"torch {how}": adadelta(tensors, case.options["rho"], how == "foreach") for how in ("foreach", "loop")}
    if case.op == "color":
        return {}
    forward, inputs = forward_of(case, tensors)
    if case.work == "forward":
        return {"torch": without_gradients(forward, inputs)}
    if case.work == "backward":
        return {"torch": backward(forward, inputs, case, tensors["dy"])}
    return {"torch": value_and_gradient(forward, inputs)}


def configure(backend: str) -> None:
    """As many threads as there are cores; on a GPU the TF32 setting of our kernels, and cuDNN's own search."""
    torch.set_num_threads(core_count())
    if backend == "gpu":
        from bench.measure.timing import one_stream
        from ltbc.kernels.gpu import launch

        one_stream()
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = launch.precision() == "tf32"


def tensor(x: np.ndarray, device: str) -> Tensor:
    """A copy of x; `[N, H, W, C]` becomes `[N, C, H, W]` in channels_last, weights `[Cout, Cin, 3, 3]` likewise."""
    t = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if x.dtype.name == "bfloat16" else torch.from_numpy(x)
    t = t.to(device, copy=True)
    if t.ndim == 4 and t.shape[:2] == (3, 3):
        return t.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return t.permute(0, 3, 1, 2) if t.ndim == 4 else t


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
        x = t["x"] if "x" in t else t["dy"][:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
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
