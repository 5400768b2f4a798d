"""Imports point down only: colorize, train, bench, tests -> nn -> kernels/<op> -> dispatch -> an implementation.

`violations` reads sources and says what is wrong in them; the project has none, and planted ones are found.
"""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {  # what each folder may import of ours
    "gradcheck": set(),
    "kernels": {"kernels"},
    "nn": {"nn", "kernels"},
    "train": {"train", "nn", "kernels"},
    "bench": {"bench", "nn", "kernels", "gradcheck"},
    "colorize": {"colorize", "train", "nn", "kernels"},
    "tests": {"tests", "gradcheck", "colorize", "bench", "train", "nn", "kernels"},
}
IMPLEMENTATIONS = ("reference", "cpu", "gpu")
HOMES = {"triton": "kernels.launch", "numba": "kernels.simd", "llvmlite": "kernels.simd"}  # and files that begin so
OPTIONAL = {"hypothesis": "strategies", "pytest": "pytest_plugin", "ml_dtypes": "leaves"}  # in gradcheck/, where
PUBLIC = {"kernels.color.reference"}  # the single conversions, for whoever needs one of them alone
CUPY = set(  # looked up in CuPy 14.2; look up what you add
    """abs absolute all any arange argmax argmin array asarray ascontiguousarray bool_ broadcast_to cbrt ceil clip
    concatenate copyto cos cumsum divide dot einsum empty empty_like exp expm1 eye float16 float32 float64 floor
    full full_like int32 int64 isfinite isnan linspace log log1p matmul max maximum may_share_memory mean min
    minimum moveaxis multiply nan ndarray negative newaxis nonzero ones ones_like outer pad pi power repeat
    reshape rint round shares_memory sign sin sqrt square stack subtract sum swapaxes take tanh tensordot tile
    transpose uint16 uint8 unique var where zeros zeros_like
    """.split()
)


def violations(sources: dict[str, str]) -> list[str]:
    """One line for each broken rule, from sources by path relative to the root."""
    trees = {module_name(path): ast.parse(source) for path, source in sources.items()}
    imports = {name: set(imported(name, tree, trees)) for name, tree in trees.items()}
    found = [f"{path}: this name hides a package" for path in sources if Path(path).stem in ("triton", "numba")]
    for name in trees:
        found += [f"{name} imports {other}" for other in sorted(imports[name]) if not allowed(name, other, trees)]
        below = reachable(name, imports)
        sides = {side for side in HOMES.values() if any(other.startswith(side) for other in below)}
        wanted = {"cpu": {"kernels.simd"}, "gpu": {"kernels.launch"}}.get(implementation(name)[:3], sides)
        if name.startswith("kernels.") and (sides - wanted or len(sides) > 1 or (plain(name) and sides)):
            found.append(f"{name} reaches {' and '.join(sorted(sides))}")
        if name.startswith(("kernels.", "nn", "train")):
            found += [f"{name} uses xp.{x}, not known in CuPy" for x in sorted(array_functions(trees[name]) - CUPY)]
    return found


def allowed(name: str, other: str, trees: dict) -> bool:
    """Whether module `name` may import `other`."""
    folder, package = name.split(".")[0], other.split(".")[0]
    if not package:
        return folder == "gradcheck"  # relative: elsewhere say where it is
    if package == "torch":
        return folder in ("bench", "tests") or name == "train.distributed"
    if folder == "gradcheck" and package not in sys.stdlib_module_names | {"numpy"}:
        return name == f"gradcheck.{OPTIONAL.get(package)}"  # it needs NumPy alone
    if package in HOMES and folder == "kernels":
        return name.startswith(HOMES[package])
    if package not in BELOW:
        return implementation(name) != "reference" or package in {"numpy", "cupy"} | sys.stdlib_module_names
    if package not in BELOW[folder]:
        return False
    op, other_op = operation(name, trees), operation(other, trees)
    if folder != "kernels":
        return folder in ("tests", "bench") or not other_op or not implementation(other) or other in PUBLIC
    if other_op and other_op != op:
        return False
    if implementation(name) == "reference":
        return other in ("kernels.arrays", "kernels.im2col", op)
    if name == op:
        return other in ("kernels.arrays", "kernels.dispatch")
    return True


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def operation(name: str, trees: dict) -> str:
    """The operation's contract that a module belongs to ("kernels.linear"), or "" if it is none's."""
    op = ".".join(name.split(".")[:2])
    return op if f"{op}.reference" in trees else ""


def implementation(name: str) -> str:
    """"reference", "cpu", "gpu" or another file of an operation's folder; "" for a contract and for shared files."""
    parts = name.split(".")
    return parts[2] if parts[0] == "kernels" and len(parts) > 2 else ""


def plain(name: str) -> bool:
    """Whether a module of kernels/ works on any machine: contracts, references, what they and the checkers share."""
    shared = ("arrays", "compare", "dispatch", "im2col")
    return implementation(name) in ("", "reference") and (name.count(".") == 2 or name.split(".")[1] in shared)


def imported(name: str, tree: ast.AST, trees: dict):
    """Modules that a module imports, at its top or inside of functions; `from a import b` is a.b where that is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in trees else base


def reachable(name: str, imports: dict[str, set[str]]) -> set[str]:
    seen, left = set(), [name]
    while left:
        module = left.pop()
        if module not in seen:
            seen.add(module)
            left += imports.get(module, ())
    return seen


def array_functions(tree: ast.AST) -> set[str]:
    """Names looked up in `xp` or in array_module(...)."""
    called = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and (
            isinstance(node.value, ast.Name) and node.value.id == "xp"
            or isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "array_module"
        )
    }  # fmt: skip
    return {attribute for attribute in called if not attribute.startswith("__")}


def project() -> dict[str, str]:
    paths = [path for folder in BELOW for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def test_the_project_has_no_violations():
    sources = project()
    assert "kernels/linear/reference.py" in sources and "tests/test_layering.py" in sources
    assert violations(sources) == []


@pytest.mark.parametrize("path, source, message", [
    ("kernels/linear/reference.py", "from kernels import fusion", "kernels.linear.reference imports kernels.fusion"),
    ("kernels/linear/reference.py", "import scipy", "kernels.linear.reference imports scipy"),
    ("kernels/linear/reference.py", "from kernels.compare import tolerance",
     "kernels.linear.reference imports kernels.compare"),
    ("kernels/linear/reference.py", "xp.fliplr(x)", "kernels.linear.reference uses xp.fliplr, not known in CuPy"),
    ("kernels/im2col.py", "array_module(x).pad_sequence()",
     "kernels.im2col uses xp.pad_sequence, not known in CuPy"),
    ("kernels/linear/__init__.py", "from kernels.linear import cpu", "kernels.linear imports kernels.linear.cpu"),
    ("kernels/linear/__init__.py", "from . import cpu", "kernels.linear imports ."),
    ("kernels/linear/__init__.py", "def f():\n    import kernels.simd", "kernels.linear imports kernels.simd"),
    ("kernels/linear/cpu.py", "from kernels.conv3x3.cpu import x", "kernels.linear.cpu imports kernels.conv3x3"),
    ("kernels/linear/cpu.py", "from kernels.launch import tl", "kernels.linear.cpu reaches kernels.launch"),
    ("kernels/linear/gpu.py", "import kernels.simd_tile", "kernels.linear.gpu reaches kernels.simd"),
    ("kernels/linear/gpu.py", "import triton", "kernels.linear.gpu imports triton"),
    ("kernels/compare.py", "from kernels import linear", "kernels.compare imports kernels.linear"),
    ("kernels/compare.py", "from kernels.launch import tl", "kernels.compare reaches kernels.launch"),
    ("kernels/launch.py", "from kernels import simd", "kernels.launch reaches kernels.launch and kernels.simd"),
    ("kernels/arrays.py", "import torch", "kernels.arrays imports torch"),
    ("kernels/arrays.py", "import nn", "kernels.arrays imports nn"),
    ("gradcheck/check.py", "import kernels.arrays", "gradcheck.check imports kernels.arrays"),
    ("gradcheck/check.py", "import gradcheck.tree", "gradcheck.check imports gradcheck.tree"),
    ("gradcheck/check.py", "def f():\n    import torch", "gradcheck.check imports torch"),
    ("gradcheck/check.py", "import hypothesis", "gradcheck.check imports hypothesis"),
    ("nn/network.py", "import gradcheck", "nn.network imports gradcheck"),
    ("kernels/numba.py", "", "kernels/numba.py: this name hides a package"),
    ("bench/triton.py", "", "bench/triton.py: this name hides a package"),
    ("nn/network.py", "import train.data", "nn.network imports train.data"),
    ("nn/network.py", "from kernels.linear import reference", "nn.network imports kernels.linear.reference"),
    ("nn/network.py", "from torch import nn", "nn.network imports torch"),
    ("train/data.py", "from tests import helpers", "train.data imports tests.helpers"),
    ("train/data.py", "def f():\n    from torch import x", "train.data imports torch"),
    ("train/data.py", "import colorize", "train.data imports colorize"),
    ("bench/cases.py", "import train", "bench.cases imports train"),
    ("colorize/page.py", "import bench.cases", "colorize.page imports bench.cases"),
    ("colorize/page.py", "import torch.nn", "colorize.page imports torch.nn"),
])  # fmt: skip
def test_planted_violations_are_found(path, source, message):
    shared = ("arrays", "compare", "im2col", "launch", "simd", "simd_tile")
    sources = {f"kernels/{name}.py": "" for name in shared}
    for op in ("linear", "conv3x3", "fusion"):
        sources |= {f"kernels/{op}/{name}.py": "" for name in ("__init__", *IMPLEMENTATIONS)}
    others = ("gradcheck/check", "nn/network", "train/data", "bench/cases", "tests/helpers")
    sources |= {f"{name}.py": "" for name in others}
    assert violations(sources) == []
    assert any(line.startswith(message) for line in violations(sources | {path: source}))
