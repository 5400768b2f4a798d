"""The checkers, each with its own defaults: takes a pair, counts calls of forward, raises what it has to say.

`Cannot` says what a tool has no way to express; it counts neither for nor against it.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from bench.gradients import Pair
from bench.gradients.functions import Calls, Function


class Cannot(Exception):
    """The tool's documentation leaves this kind of pair out."""


class Wrong(Exception):
    """What a tool says that returns a figure only."""


def ours(pair: Pair, calls: Calls) -> None:
    from bench.gradients.ours import check

    check(pair, calls)


def torch_slow(pair: Pair, calls: Calls, **options: Any) -> None:
    """torch.autograd.gradcheck: every column of the Jacobian, central differences."""
    import torch

    function = Function(in_double(pair), calls)

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            y, ctx.back = function.run(*(t.detach().numpy() for t in tensors))
            found = tuple(torch.from_numpy(np.asarray(a)) for a in y)
            return found if len(found) > 1 else found[0]

        @staticmethod
        def backward(ctx: Any, *dy: Any) -> Any:
            flip = np.conj if pair.convention == "jax" else np.asarray
            gradients = ctx.back([flip(d.resolve_conj().numpy()) for d in dy])
            return tuple(torch.from_numpy(np.ascontiguousarray(flip(g))) for g in gradients)

    leaves = [torch.from_numpy(a) if a.size else torch.zeros(a.shape, dtype=torch.float64) for a in function.leaves]
    inputs = tuple(leaf.requires_grad_() for leaf in leaves)
    torch.autograd.gradcheck(Wrapped.apply, inputs, **options)


def torch_fast(pair: Pair, calls: Calls) -> None:
    """torch.autograd.gradcheck(fast_mode=True): random projections from both sides."""
    torch_slow(pair, calls, fast_mode=True)


def jax_check_grads(pair: Pair, calls: Calls) -> None:
    """jax.test_util.check_grads in reverse mode, of a custom_vjp whose parts are NumPy's by pure_callback."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    if not pair.pure:
        raise Cannot("pure functions of arrays alone, whose layout is JAX's affair")
    function = Function(free(pair), calls)
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in function.leaves]
    results = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in function.run(*function.leaves)[0]]
    flip = np.conj if pair.convention == "torch" else np.asarray

    def forward(*arrays: Any) -> Any:
        return function.run(*map(np.array, arrays))[0]

    def gradients(arrays: Any, dy: Any) -> Any:
        """Runs forward again, for JAX takes arrays alone from there to here; that call is not counted."""
        calls.n -= 1
        return [flip(g) for g in function.run(*map(np.array, arrays))[1]([flip(np.array(d)) for d in dy])]

    @jax.custom_vjp
    def wrapped(*arrays: Any) -> Any:
        return jax.pure_callback(forward, results, *arrays)

    wrapped.defvjp(lambda *arrays: (wrapped(*arrays), arrays),
                   lambda arrays, dy: tuple(jax.pure_callback(gradients, shapes, arrays, dy)))
    calls.n = 0
    check_grads(wrapped, tuple(function.leaves), order=1, modes=["rev"])


def scipy_check_grad(pair: Pair, calls: Calls, direction: str = "all") -> None:
    """scipy.optimize.check_grad of <dy, y>: forward differences along every axis. It returns a distance; taken for
    wrong is one of more than 1e-5 of the gradient's norm."""
    from scipy.optimize import check_grad

    function = real(in_double(pair), calls)
    y, back = function.run(*function.leaves)
    rng = np.random.default_rng(0)
    dy = [rng.normal(size=a.shape) for a in y]
    start = flat(function.leaves)

    def value(x: np.ndarray) -> float:
        return float(sum((d * a).sum() for d, a in zip(dy, function.run(*unflat(x, function.leaves))[0])))

    def gradient(x: np.ndarray) -> np.ndarray:
        return flat(function.run(*unflat(x, function.leaves))[1](dy))

    size = np.linalg.norm(gradient(start))
    calls.n = 0
    error = check_grad(value, gradient, start, direction=direction, rng=1)
    if not error <= 1e-5 * size:
        raise Wrong(f"distance {error:.3g}")


def scipy_random(pair: Pair, calls: Calls) -> None:
    """scipy.optimize.check_grad(direction="random"): one random direction."""
    scipy_check_grad(pair, calls, "random")


def chainer(pair: Pair, calls: Calls, eps: float = 1e-3, absolute: float = 1e-5, relative: float = 1e-4) -> None:
    """The method of chainer.gradient_check.check_backward with its defaults, in float64: one direction of length 1
    through all arguments at once, one central difference, <g, v> held against it."""
    function = real(pair, calls)
    rng = np.random.default_rng(0)
    y, back = function.run(*function.leaves)
    dy = [np.asarray(rng.normal(size=a.shape), a.dtype) for a in y]
    gradients = back(dy)
    for g, x in zip(gradients, function.leaves):
        if g.shape != x.shape or g.dtype != x.dtype:
            raise Wrong(f"gradient of shape {g.shape} and dtype {g.dtype}, argument {x.shape} and {x.dtype}")
    directions = [rng.normal(size=x.shape) for x in function.leaves]
    length = np.sqrt(sum((v * v).sum() for v in directions)) or 1.0

    def moved(step: float) -> list[np.ndarray]:
        at = [(x + step / length * v).astype(x.dtype) for x, v in zip(function.leaves, directions)]
        return [a.astype(np.float64) for a in function.run(*at)[0]]

    up, down = moved(eps), moved(-eps)
    numeric = sum(((a - b) * d).sum() for a, b, d in zip(up, down, dy)) / (2 * eps)
    analytic = sum((g * v).sum(dtype=np.float64) for g, v in zip(gradients, directions)) / length
    if not abs(numeric - analytic) <= absolute + relative * abs(analytic):
        raise Wrong(f"numeric {numeric:.6g}, backward {analytic:.6g}")


def in_double(pair: Pair) -> Pair:
    if not pair.double:
        raise Cannot("made for float64")
    return free(pair)


def free(pair: Pair) -> Pair:
    if pair.tangent:
        raise Cannot("moves arguments everywhere, also off the symmetric matrices")
    return pair


def real(pair: Pair, calls: Calls) -> Function:
    """Of float arguments and results alone."""
    function = Function(free(pair), calls)
    if any(a.dtype.kind != "f" for a in function.leaves):
        raise Cannot("real arrays of NumPy's own dtypes only")
    return function


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([a.ravel() for a in arrays]) if arrays else np.zeros(0)


def unflat(x: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([a.size for a in like])
    return [part.reshape(a.shape) for part, a in zip(np.split(x, ends[:-1]), like)]


class Tool(NamedTuple):
    """module: which it needs; how: to have that."""

    check: Callable[[Pair, Calls], None]
    module: str
    how: str = ""


TOOLS = {
    "ours": Tool(ours, "gradcheck"),
    "torch slow": Tool(torch_slow, "torch", "pip install torch"),
    "torch fast": Tool(torch_fast, "torch", "pip install torch"),
    "jax": Tool(jax_check_grads, "jax", "pip install jax"),
    "scipy": Tool(scipy_check_grad, "scipy", "pip install scipy"),
    "scipy random": Tool(scipy_random, "scipy", "pip install scipy"),
    "chainer's method": Tool(chainer, "numpy"),
}


def missing() -> dict[str, str]:
    """How to have the tools that are not there, by name."""
    return {name: tool.how for name, tool in TOOLS.items() if not find_spec(tool.module)}
