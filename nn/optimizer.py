"""The optimizer: its state, and a step of all parameters at once."""

from types import ModuleType
from typing import Protocol

from ltbc.kernels import adadelta
from ltbc.nn.parameters import Parameters


class Trained(Protocol):
    """What the optimizer wants of a network."""

    parameters: Parameters
    gradients: Parameters
    low_precision: Parameters | None
    backend: str
    xp: ModuleType

    def refresh(self, copied: bool = False) -> None: ...


class Adadelta:
    """The optimizer's state beside a network's parameters: `eg` and `ed`, flat `[K]`, as in `kernels/adadelta`."""

    def __init__(self, net: Trained, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6) -> None:
        self.net, self.lr, self.rho, self.eps = net, lr, rho, eps
        xp = net.xp
        self.eg, self.ed = xp.zeros_like(net.parameters.flat), xp.zeros_like(net.parameters.flat)

    def step(self) -> None:
        """Updates the parameters in place from the network's gradients, and what the kernels read of them."""
        net = self.net
        low = None if net.low_precision is None else net.low_precision.flat
        adadelta.step(
            net.parameters.flat, net.gradients.flat, self.eg, self.ed, self.lr, self.rho, self.eps,
            low=low, backend=net.backend,
        )
        net.refresh(copied=True)
