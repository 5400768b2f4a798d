"""Who may import whom: colorize, train, bench, tests -> nn -> kernels/<op> -> dispatch -> an implementation.

Rooms of kernels/: `cpu` alone, and the cpu files of an operation, know Numba and LLVM; `gpu.launch` alone knows Triton.
Nothing imports a study but its own folder, programs and experiments. `violations` reads sources and says what is wrong
in them; the project has none, and planted ones are found.
"""

import ast
import sys
from pathlib import Path

import pytest

from tests import ROOT

BELOW = {  # what each folder may import of ours
    "gradcheck": set(),
    "kernels": {"kernels"},
    "nn": {"nn", "kernels"},
    "train": {"train", "nn", "kernels"},
    "bench": {"bench", "nn", "kernels", "gradcheck"},
    "colorize": {"colorize", "train", "nn", "kernels"},
    "tests": {"tests", "gradcheck", "colorize", "bench", "train", "nn", "kernels"},
}
INSIDE = ("kernels", "nn", "train", "colorize")  # of the package, imported as ltbc.kernels and so on
IMPLEMENTATIONS = ("reference", "cpu", "gpu")
SIDES = {"cpu": "kernels.cpu", "gpu": "kernels.gpu"}
OPTIONAL = {"hypothesis": "strategies", "pytest": "pytest_plugin", "ml_dtypes": "leaves"}  # in gradcheck/, where
ASIDE = {"nn.study": ("nn.__main__", "train.experiments"), "train.experiments": (), "colorize.experiments": ()}
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
        if name.startswith("kernels."):
            below = reachable(name, imports)
            sides = {side for side, room in SIDES.items() if any(inside(other, room) for other in below)}
            found += [f"{name} reaches {SIDES[other]}" for other in sorted(sides - {side(name)})]
        if name.startswith(("kernels.", "nn", "train")):
            found += [f"{name} uses xp.{x}, not known in CuPy" for x in sorted(array_functions(trees[name]) - CUPY)]
    return found


def allowed(name: str, other: str, trees: dict) -> bool:
    """Whether module `name` may import `other`."""
    folder, package = name.split(".")[0], other.split(".")[0]
    if other.startswith("!"):
        return False  # without ltbc
    if not package:
        return folder == "gradcheck"  # relative: elsewhere say where it is
    if package == "torch":
        return folder in ("bench", "tests") or name == "train.distributed"
    if folder == "gradcheck" and package not in sys.stdlib_module_names | {"numpy"}:
        return name == f"gradcheck.{OPTIONAL.get(package)}"  # it needs NumPy alone
    if package == "triton" and folder == "kernels":
        return name == "kernels.gpu.launch"
    if package in ("numba", "llvmlite") and folder == "kernels":
        return side(name) == "cpu"
    if package not in BELOW:
        return implementation(name) != "reference" or package in {"numpy", "cupy"} | sys.stdlib_module_names
    if package not in BELOW[folder]:
        return False
    for room, users in ASIDE.items():
        may = folder in ("tests", "bench") or any(inside(name, user) for user in (room, *users))
        if inside(other, room) and not may:
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


def inside(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room}.")


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


def side(name: str) -> str:
    """"cpu" or "gpu" where a module of kernels/ works on such a machine only: the rooms of that name and, of an
    operation, all files but the contract and the reference; "" elsewhere."""
    if implementation(name) in ("", "reference"):
        return next((side for side, room in SIDES.items() if inside(name, room)), "")
    if name.split(".")[1] in SIDES:
        return name.split(".")[1]
    return "gpu" if implementation(name).startswith("gpu") else "cpu"


def imported(name: str, tree: ast.AST, trees: dict):
    """Modules that a module imports, at its top or inside of functions, without "ltbc."; `from a import b` is a.b where
    that is one. "!kernels" where "ltbc." was forgotten."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (place(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                whole = place(f"{base}.{alias.name}")
                yield whole if whole in trees else place(base)


def place(name: str) -> str:
    return "!" * (name.split(".")[0] in INSIDE) + name.removeprefix("ltbc.")


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
    }
    return {attribute for attribute in called if not attribute.startswith("__")}


def project() -> dict[str, str]:
    paths = [path for folder in BELOW for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def test_the_project_has_no_violations():
    sources = project()
    assert "kernels/linear/reference.py" in sources and "tests/test_layering.py" in sources
    assert violations(sources) == []


@pytest.mark.parametrize("path, source, message", [
    ("kernels/linear/reference.py", "from ltbc.kernels import fusion",
     "kernels.linear.reference imports kernels.fusion"),
    ("kernels/linear/reference.py", "import scipy", "kernels.linear.reference imports scipy"),
    ("kernels/linear/reference.py", "from ltbc.kernels.compare import tolerance",
     "kernels.linear.reference imports kernels.compare"),
    ("kernels/linear/reference.py", "import numba", "kernels.linear.reference imports numba"),
    ("kernels/linear/reference.py", "xp.fliplr(x)", "kernels.linear.reference uses xp.fliplr, not known in CuPy"),
    ("kernels/im2col.py", "array_module(x).pad_sequence()", "kernels.im2col uses xp.pad_sequence, not known in CuPy"),
    ("kernels/linear/__init__.py", "from ltbc.kernels.linear import cpu", "kernels.linear imports kernels.linear.cpu"),
    ("kernels/linear/__init__.py", "from . import cpu", "kernels.linear imports ."),
    ("kernels/linear/__init__.py", "def f():\n    import ltbc.kernels.cpu.tile",
     "kernels.linear imports kernels.cpu.tile"),
    ("kernels/linear/cpu.py", "from ltbc.kernels.conv3x3.cpu import x", "kernels.linear.cpu imports kernels.conv3x3"),
    ("kernels/linear/cpu.py", "from ltbc.kernels.gpu.launch import tl", "kernels.linear.cpu reaches kernels.gpu"),
    ("kernels/linear/gpu.py", "import ltbc.kernels.cpu.tile", "kernels.linear.gpu reaches kernels.cpu"),
    ("kernels/linear/gpu.py", "import triton", "kernels.linear.gpu imports triton"),
    ("kernels/linear/gpu_few.py", "import numba", "kernels.linear.gpu_few imports numba"),
    ("kernels/gpu/boxes.py", "import triton", "kernels.gpu.boxes imports triton"),
    ("kernels/gpu/launch.py", "from ltbc.kernels.cpu import tile", "kernels.gpu.launch reaches kernels.cpu"),
    ("kernels/cpu/tile.py", "import triton", "kernels.cpu.tile imports triton"),
    ("kernels/compare.py", "from ltbc.kernels import linear", "kernels.compare imports kernels.linear"),
    ("kernels/compare.py", "from ltbc.kernels.gpu.launch import tl", "kernels.compare reaches kernels.gpu"),
    ("kernels/compare.py", "import llvmlite", "kernels.compare imports llvmlite"),
    ("kernels/arrays.py", "import torch", "kernels.arrays imports torch"),
    ("kernels/arrays.py", "import ltbc.nn", "kernels.arrays imports nn"),
    ("kernels/arrays.py", "from kernels import im2col", "kernels.arrays imports !kernels"),
    ("gradcheck/check.py", "import ltbc.kernels.arrays", "gradcheck.check imports kernels.arrays"),
    ("gradcheck/check.py", "import gradcheck.tree", "gradcheck.check imports gradcheck.tree"),
    ("gradcheck/check.py", "def f():\n    import torch", "gradcheck.check imports torch"),
    ("gradcheck/check.py", "import hypothesis", "gradcheck.check imports hypothesis"),
    ("nn/network.py", "import gradcheck", "nn.network imports gradcheck"),
    ("kernels/numba.py", "", "kernels/numba.py: this name hides a package"),
    ("bench/triton.py", "", "bench/triton.py: this name hides a package"),
    ("nn/network.py", "import ltbc.train.run", "nn.network imports train.run"),
    ("nn/network.py", "from ltbc.nn.study import terms", "nn.network imports nn.study.terms"),
    ("nn/network.py", "from ltbc.kernels.linear import reference", "nn.network imports kernels.linear.reference"),
    ("nn/network.py", "from torch import nn", "nn.network imports torch"),
    ("train/run.py", "from tests import helpers", "train.run imports tests.helpers"),
    ("train/run.py", "def f():\n    from torch import x", "train.run imports torch"),
    ("train/run.py", "import ltbc.colorize", "train.run imports colorize"),
    ("train/run.py", "import nn", "train.run imports !nn"),
    ("bench/cases.py", "import ltbc.train", "bench.cases imports train"),
    ("colorize/page.py", "import bench.cases", "colorize.page imports bench.cases"),
    ("colorize/page.py", "import torch.nn", "colorize.page imports torch.nn"),
])
def test_planted_violations_are_found(path, source, message):
    names = ("kernels/arrays", "kernels/compare", "kernels/im2col", "kernels/cpu/tile", "kernels/gpu/boxes",
             "kernels/gpu/launch", "nn/network", "nn/study/terms", "train/run", "bench/cases",
             "tests/helpers", "gradcheck/check")
    sources = {f"{name}.py": "" for name in names}
    for op in ("linear", "conv3x3", "fusion"):
        sources |= {f"kernels/{op}/{name}.py": "" for name in ("__init__", *IMPLEMENTATIONS)}
    assert violations(sources) == []
    assert any(line.startswith(message) for line in violations(sources | {path: source}))
