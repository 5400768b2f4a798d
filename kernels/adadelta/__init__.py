"""Adadelta (Zeiler 2012): one pass over the flat buffers of all parameters, in place.

    Eg <- rho Eg + (1 - rho) g^2                           (1)
    d   = g sqrt(Ed + eps) / sqrt(Eg + eps)                (2)
    Ed <- rho Ed + (1 - rho) d^2                           (3)
    p  <- p - lr d,  and low <- p rounded                  (4)

    p, g, eg, ed [K], all float32 or all float64      low [K] of a 16-bit dtype, or None

The same as torch.optim.Adadelta. eg and ed start at 0. Source: the paper, section 3.4.
Errors: ValueError for shapes that differ or constants out of range, TypeError for a wrong dtype or array type.
"""

from ltbc.kernels.arrays import Array, bind, check_apart, check_dtypes, check_number, check_writable, is_float
from ltbc.kernels.dispatch import implementation

OP = "adadelta"


def step(
    p: Array, g: Array, eg: Array, ed: Array, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
    *, low: Array | None = None, backend: str = "reference",
) -> None:
    """Equations (1) to (4), in place: p, eg, ed and (where given) low change."""
    buffers = {"p": p, "g": g, "eg": eg, "ed": ed}
    bind(OP, **{name: (x, "K") for name, x in buffers.items()}, **({} if low is None else {"low": (low, "K")}))
    check_dtypes(OP, buffers)
    if p.dtype.itemsize < 4:
        raise TypeError(f"{OP}: p must be float32 or float64, got {p.dtype}")
    if low is not None and not (is_float(low.dtype) and low.dtype.itemsize == 2):
        raise TypeError(f"{OP}: low must be of a 16-bit float dtype, got {low.dtype}")
    step_size, kept, least = (check_number(OP, k, v, p.dtype) for k, v in (("lr", lr), ("rho", rho), ("eps", eps)))
    if not (0 <= kept < 1 and least > 0 and step_size > 0):
        raise ValueError(f"{OP}: need 0 <= rho < 1, eps > 0, lr > 0 in {p.dtype}, got rho={rho}, eps={eps}, lr={lr}")
    changed = {"p": p, "eg": eg, "ed": ed} | ({} if low is None else {"low": low})
    for name, x in changed.items():
        check_writable(OP, name, x)
    check_apart(OP, changed)
    check_apart(OP, changed, {"g": g})
    implementation(OP, backend, p).step(p, g, eg, ed, lr, rho, eps, low=low)
