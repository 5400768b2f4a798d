"""The judge of the exercises: each function that was written is held against the project's; what differs is told."""

import importlib.util
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from gradcheck import GradientError, check_gradients
from lessons.judge_network import judge_network
from ltbc.kernels import adadelta, chroma_loss, class_loss, conv3x3, fusion, linear, upsample2x_conv3x3

Verdicts = Iterator[tuple[str, str]]  # (what, "right" or what is wrong)


def judge(number: int, path: Path) -> Verdicts:
    """The verdicts on a file with a solution of exercise `number`."""
    try:
        spec = importlib.util.spec_from_file_location("exercise", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        yield "the file", raised(error, path)
        return
    yield from EXERCISES[number](module, path)


def raised(error: BaseException, path: Path) -> str:
    """An exception of the exercise's own code, in a line."""
    if isinstance(error, NotImplementedError):
        return "not written yet"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    at = f", line {lines[-1]}" if lines else ""
    return f"raises {type(error).__name__}: {' '.join(str(error).split()) or 'no message'}{at}"


def function(module: ModuleType, name: str) -> Callable:
    """What the file calls so; what is not there is told when it is called."""
    def missing(*args: object) -> None:
        raise NameError(f"there is no function {name} here")

    return getattr(module, name, missing)


def value(name: str, ours: Callable, theirs: Callable, arguments: tuple, path: Path) -> Verdicts:
    """A function's result against the project's."""
    try:
        with np.errstate(all="ignore"):
            got = np.asarray(ours(*(a.copy() for a in arguments)))
    except Exception as error:
        yield name, raised(error, path)
        return
    yield name, compared(got, np.asarray(theirs(*arguments)))


def compared(got: np.ndarray, wanted: np.ndarray) -> str:
    if got.shape != wanted.shape:
        return f"has shape {list(got.shape)}, wanted {list(wanted.shape)}"
    off = np.abs(got - wanted)
    if np.allclose(got, wanted, rtol=1e-8, atol=1e-10):
        return "right"
    at = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
    count = f"{np.sum(~(off < 1e-9))} of {off.size} differ"
    return f"wrong at {[int(i) for i in at]}: {got[at]:.6g}, wanted {wanted[at]:.6g} ({count})"


def gradients(
    forward: Callable, theirs: Callable, ours: Callable, arguments: dict[str, np.ndarray], takes: tuple[str, ...],
    wrt: tuple[str, ...], path: Path, operation: str,
) -> Verdicts:
    """Each gradient of `ours(dy, *takes)`, judged by the checker with the project's own in place of the others."""
    given = [arguments[name] for name in takes]
    y = np.asarray(forward(*arguments.values()))
    dy = np.random.default_rng(1).normal(size=y.shape)
    try:
        found = ours(dy if y.ndim else float(dy), *(a.copy() for a in given))
        found = found if isinstance(found, tuple | list) else (found,)
    except Exception as error:
        yield "backward", raised(error, path)
        return
    if found[0] is None and len(found) == 1:
        yield "backward", "returns nothing"
        return
    if len(found) != len(wrt):
        yield "backward", f"gives {len(found)} gradients, wanted {len(wrt)}: {', '.join('d' + name for name in wrt)}"
        return
    for k, name in enumerate(wrt):
        def mixed(dy: np.ndarray, *rest: np.ndarray, k: int = k) -> list:
            right, own = list(theirs(dy, *rest)), ours(dy, *rest)
            right[k] = own[k] if isinstance(own, tuple | list) else own
            return right

        try:
            check_gradients(forward, mixed, arguments, takes=takes, wrt=wrt, operation=operation)
            yield f"d{name}", "right"
        except GradientError as error:
            yield f"d{name}", str(error).partition(": ")[2]
        except Exception as error:
            yield f"d{name}", raised(error, path)


def layer(
    operation: ModuleType, arguments: dict[str, np.ndarray], also_forward: bool = False, **variant: object
) -> Callable[[ModuleType, Path], Verdicts]:
    """The verdicts on an exercise that writes an operation without activation."""
    *inputs, w, b = arguments

    def forward(*given: np.ndarray) -> np.ndarray:
        return operation.forward(*given, **variant, activation="none")

    def backward(dy: np.ndarray, *given: np.ndarray) -> tuple:
        return operation.backward(dy, *given, np.zeros_like(dy), **variant, activation="none")

    def verdicts(module: ModuleType, path: Path) -> Verdicts:
        if also_forward:
            yield from value("forward", function(module, "forward"), forward, tuple(arguments.values()), path)
        takes, wrt = (*inputs, w), (*inputs, w, b)
        yield from gradients(forward, backward, function(module, "backward"), arguments, takes, wrt, path, operation.OP)

    return verdicts


def losses(module: ModuleType, path: Path) -> Verdicts:
    rng = np.random.default_rng(2)
    y, target = rng.uniform(0, 1, (2, 3, 4, 2)), rng.uniform(0, 1, (2, 3, 4, 2))
    z, labels = 2 * rng.normal(size=(3, 5)), np.array([4, 0, 2])
    for name, op, x, other in (("chroma", chroma_loss, y, target), ("classes", class_loss, z, labels)):
        ours, own, of_x = function(module, name), op.value_and_gradient, "y" if op is chroma_loss else "z"
        for shift, what in ((0, "loss"), *(((1000, "large"),) if op is class_loss else ())):
            yield from value(f"{name} {what}", lambda *a, f=ours: f(*a)[0], lambda *a, f=own: f(*a)[0],
                             (x + shift, other), path)
        yield from gradients(
            lambda a, f=own, t=other: f(a, t)[0], lambda d, a, f=own, t=other: [d * f(a, t)[1]],
            lambda d, a, f=ours, t=other: [d * np.asarray(f(a, t)[1])], {of_x: x}, (of_x,), (of_x,), path, name,
        )


def optimizer(module: ModuleType, path: Path) -> Verdicts:
    """Three steps, with gradients above and below the border: what is wrong first names the equation."""
    p, eg, ed = np.array([1.0, -2, 3, 0.5]), np.zeros(4), np.zeros(4)
    g = np.array([100.0, -0.1, 1e-3, 1e-5])
    equations = {"p": "(2) or (4)", "eg": "(1)", "ed": "(3)"}
    for step in range(1, 4):
        wanted = [a.copy() for a in (p, eg, ed)]
        adadelta.step(wanted[0], g, *wanted[1:], lr=0.5, rho=0.9, eps=1e-6)
        try:
            found = function(module, "step")(p.copy(), g.copy(), eg.copy(), ed.copy(), 0.5, 0.9, 1e-6)
            if not isinstance(found, tuple | list) or len(found) != 3:
                raise TypeError("step must return p, eg, ed")
        except Exception as error:
            yield f"step {step}", raised(error, path)
            return
        before = dict(zip(equations, (p, eg, ed)))
        p, eg, ed = wanted
        for name in ("eg", "p", "ed"):
            right = dict(zip(equations, wanted))[name]
            verdict = compared(np.asarray(dict(zip(equations, found))[name]) - before[name], right - before[name])
            if verdict != "right":
                yield f"step {step}", f"{name} moves {verdict}: equation {equations[name]}"
                return
        yield f"step {step}", "right"


draw = np.random.default_rng(0).normal
IMAGE = {"x": draw(size=(2, 4, 6, 2)), "w": draw(size=(3, 3, 2, 3)), "b": draw(size=3)}
EXERCISES: dict[int, Callable[[ModuleType, Path], Verdicts]] = {
    1: layer(linear, {"x": draw(size=(4, 3)), "w": draw(size=(3, 2)), "b": draw(size=2)}, also_forward=True),
    2: layer(conv3x3, IMAGE, stride=1),
    3: layer(conv3x3, IMAGE, stride=2),
    4: layer(upsample2x_conv3x3, IMAGE, also_forward=True),
    5: layer(fusion, {"mid": draw(size=(2, 3, 4, 3)), "vector": draw(size=(2, 2)), "w": draw(size=(5, 4)),
                      "b": draw(size=4)}, also_forward=True),
    6: losses,
    7: optimizer,
    8: judge_network,
}
