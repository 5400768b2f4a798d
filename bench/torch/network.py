"""The same network in PyTorch with autograd: what tests compare with and what benchmarks race against."""

from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ltbc.nn import ALPHA, Network, Settings
from ltbc.nn.architecture import LayerSpec, layers


class TorchNetwork(nn.Module):
    """The network of `Settings` as a PyTorch module on NCHW tensors, its convolutions by PyTorch's own kernels."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.specs = layers(settings)
        self.module_of: Any = nn.ModuleDict({key(spec): module(spec) for spec in chain(*self.specs.values())})

    def part(self, name: str, x: torch.Tensor) -> torch.Tensor:
        for spec in self.specs[name]:
            x = self.layer(spec, x)
        return x

    def layer(self, spec: LayerSpec, x: torch.Tensor) -> torch.Tensor:
        if spec.op == "upsample2x_conv3x3":
            x = F.interpolate(x, scale_factor=2)
        return activate(self.module_of[key(spec)](x), spec.activation)

    def forward(
        self, x: torch.Tensor, global_input: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(chroma [N, C, H/2, W/2], logits) of luminance [N, 1, H, W]; global_input [N, 1, S, S] if not the same."""
        low = self.part("low", x)
        mid = self.part("mid", low)
        if not self.settings.global_size:
            fused = self.layer(self.specs["fusion"][0], mid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.part("color", fused), None
        features = self.part("global", low if global_input is None else self.part("low", global_input))
        hidden = features.permute(0, 2, 3, 1).flatten(1)  # flattened as NHWC, as in our layout
        first, second, last = self.specs["global_fc"]
        hidden = self.layer(second, self.layer(first, hidden))
        vector = self.layer(last, hidden)
        logits = self.part("class", hidden)
        weight, bias = self.module_of["fusion"].weight, self.module_of["fusion"].bias
        cut = vector.shape[1]
        z = F.conv2d(mid, weight[:, cut:, None, None], bias) + F.linear(vector, weight[:, :cut])[:, :, None, None]
        return self.part("color", activate(z, self.settings.fusion)), logits

    def loss(
        self, x: torch.Tensor, target: torch.Tensor, labels: torch.Tensor | None = None,
        global_input: torch.Tensor | None = None, alpha: float = ALPHA,
    ) -> torch.Tensor:
        """chroma + alpha * classes, with the switches of the settings."""
        chroma, logits = self(x, global_input)
        loss = F.mse_loss(chroma.to(target.dtype), target)
        if logits is None or labels is None:
            return loss
        logits = logits.to(target.dtype)
        if self.settings.class_loss == "softmax":
            return loss + alpha * F.cross_entropy(logits, labels)
        onehot = F.one_hot(labels, logits.shape[1]).to(target.dtype)
        return loss + alpha * F.binary_cross_entropy_with_logits(logits, onehot, reduction="sum") / len(labels)


def from_network(net: Network) -> TorchNetwork:
    """A PyTorch copy of our network, with its parameters in their dtype."""
    torch_net = TorchNetwork(net.settings).to(torch.from_numpy(net.parameters.flat[:1]).dtype)
    with torch.no_grad():
        for name, parameter in torch_net.named_parameters():
            parameter.copy_(torch.from_numpy(to_torch_layout(net.parameters.views[our_name(name)])))
    return torch_net


def gradients(torch_net: TorchNetwork) -> dict[str, np.ndarray]:
    """Gradients by our names, in our layouts."""
    grads = {name: parameter.grad for name, parameter in torch_net.named_parameters()}
    return {our_name(name): from_torch_layout(grad.numpy()) for name, grad in grads.items() if grad is not None}


def nchw(x: np.ndarray) -> torch.Tensor:
    """[N, H, W, C] as a contiguous [N, C, H, W] tensor."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def key(spec: LayerSpec) -> str:
    return spec.name.replace(".", "_")


def our_name(name: str) -> str:
    """module_of.low_0.weight -> low.0.weight, module_of.global_fc_0.bias -> global_fc.0.bias."""
    _, layer, kind = name.split(".")
    part, _, index = layer.rpartition("_")
    return f"{part}.{index}.{kind}" if index.isdigit() else f"{layer}.{kind}"


def module(spec: LayerSpec) -> nn.Module:
    if "conv3x3" in spec.op:
        return nn.Conv2d(spec.inputs, spec.filters, 3, stride=spec.stride, padding=1)
    return nn.Linear(spec.inputs, spec.filters)


def activate(z: torch.Tensor, activation: str) -> torch.Tensor:
    if activation == "none":
        return z
    return F.relu(z) if activation == "relu" else torch.sigmoid(z)


def to_torch_layout(w: np.ndarray) -> np.ndarray:
    """[3, 3, Cin, Cout] -> [Cout, Cin, 3, 3]; [in, out] -> [out, in]; biases as they are."""
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T)


def from_torch_layout(w: np.ndarray) -> np.ndarray:
    return w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
