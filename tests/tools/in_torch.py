"""Layers and losses in PyTorch, in our layouts: `results(case)` are a layer's y or a loss, and autograd's gradients."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.tools.helpers import LAYERS, Case


def results(case: Case) -> dict[str, np.ndarray]:
    arrays = [torch.tensor(a.copy()) for a in case.arguments.values()]
    if case.op in LAYERS:
        *inputs, dy = (a.requires_grad_() for a in arrays)
        found = LAYER[case.op](*inputs, **{k: v for k, v in case.settings.items() if k != "activation"})
        found = ACTIVATION[case.settings.get("activation", "none")](found)
        found.backward(dy)
        gradients = {name: x.grad.numpy() for name, x in zip(LAYERS[case.op].gradients, inputs)}
        return {"y": found.detach().numpy(), **gradients}
    settings = dict(case.settings)
    scale, x = settings.pop("scale"), arrays[0].requires_grad_()
    found = LOSS[case.op](*arrays, **settings)
    found.backward()
    return {"loss": found.detach().numpy(), f"d{next(iter(case.arguments))}": scale * x.grad.numpy()}


def conv3x3(x, w, b, stride):
    x, w = x.permute(0, 3, 1, 2).contiguous(), w.permute(3, 2, 0, 1).contiguous()
    return F.conv2d(x, w, b, stride=stride, padding=1).permute(0, 2, 3, 1)


def upsample2x(x):
    return F.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="nearest").permute(0, 2, 3, 1)


def fusion(mid, global_, w, b):
    """With the concatenated tensor [global ; mid] that our versions never form."""
    everywhere = global_[:, None, None].expand(*mid.shape[:3], -1)
    return torch.cat([everywhere, mid], -1) @ w + b


def class_loss(z, labels, kind):
    if kind == "softmax":
        return F.cross_entropy(z, labels)
    target = F.one_hot(labels, z.shape[1]).to(z.dtype)
    return F.binary_cross_entropy_with_logits(z, target, reduction="sum") / len(labels)


LAYER = {
    "conv3x3": conv3x3, "upsample2x": upsample2x, "linear": lambda x, w, b: x @ w + b, "fusion": fusion,
    "upsample2x_conv3x3": lambda x, w, b: conv3x3(upsample2x(x), w, b, 1),
}
ACTIVATION = {"none": lambda z: z, "relu": torch.relu, "sigmoid": torch.sigmoid}
LOSS = {"chroma_loss": F.mse_loss, "class_loss": class_loss}
