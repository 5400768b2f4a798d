"""The whole network on the gpu backend against the reference, under Triton's interpreter; its launches at width 1."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.tools.interpreter import Watched, watched  # isort: skip (first: it sets TRITON_INTERPRET)
from ltbc.kernels.compare import ROUNDOFF, relative_error
from ltbc.kernels.gpu import launch
from ltbc.nn import Adadelta, Network

TILE = {"BLOCK_P": 64, "BLOCK_C": 16, "BLOCK_O": 16}
MOST_LAUNCHES = 110
ARRAY_EXPRESSIONS = 6  # a step of nn/network.py besides: the input's cast, two forks, three for the losses
CLOSE = 1e-4  # float32 through 23 layers and as many activations, some near their kink


def make(backend, size=(16, 16), dtype="float32"):
    """A tiny network off its symmetric start, and a batch of two pictures."""
    net = Network(0.03, classes=5, global_size=16, backend=backend, dtype=dtype)
    rng = np.random.default_rng(0)
    net.parameters.flat[...] += 0.02 * rng.standard_normal(net.parameters.flat.shape)
    net.refresh()
    h, w = size
    batch = {
        "luminance": rng.uniform(-1, 1, (2, h, w, 1)), "chroma": rng.uniform(0, 1, (2, h // 2, w // 2, 2)),
        "labels": np.array([3, 0]),
    }
    wide = net.parameters.flat.dtype
    return net, {name: x if x.dtype.kind == "i" else x.astype(np.float32).astype(wide) for name, x in batch.items()}


def reference(*args):
    """`make` in float64, from the parameters that float32 holds."""
    net, batch = make("reference", *args, dtype="float64")
    net.parameters.flat[...] = make("reference", *args)[0].parameters.flat
    net.refresh()
    return net, batch


def train(net, batch, steps):
    """Losses of each step, and gradients of the first."""
    optimizer, losses, gradients = Adadelta(net), [], None
    for _ in range(steps):
        losses.append({name: float(x) for name, x in net.loss_and_gradients(**batch).items()})
        gradients = gradients or {name: g.copy() for name, g in net.gradients.views.items()}
        optimizer.step()
    return losses, gradients


@pytest.fixture(scope="module")
def three_steps():
    with watched(**TILE):
        net, batch = make("gpu")
        losses, gradients = train(net, batch, 3)
    return SimpleNamespace(net=net, losses=losses, gradients=gradients)


def assert_same_gradients(found, net):
    """Layer by layer, so that a small gradient is not lost beside a large one."""
    for name, want in net.gradients.views.items():
        error = relative_error(found[name], want)
        assert error < CLOSE, f"gradient of {name} is off by {error:.1e}"


def test_every_gradient_equals_the_reference(three_steps):
    net, batch = reference()
    net.loss_and_gradients(**batch)
    assert_same_gradients(three_steps.gradients, net)


def test_three_training_steps_equal_the_reference(three_steps):
    net, batch = reference()
    start = net.parameters.flat.copy()
    losses, _ = train(net, batch, 3)
    for found, want in zip(three_steps.losses, losses):
        assert found == pytest.approx(want, rel=CLOSE)
    moved = relative_error(three_steps.net.parameters.flat - start, net.parameters.flat - start)
    assert moved < 100 * CLOSE, "Adadelta divides small gradients by their own size, and their errors with them"


def test_shuffled_programs_give_the_same_bits(three_steps):
    with watched(order="shuffled", **TILE):
        net, batch = make("gpu")
        net.loss_and_gradients(**batch)
    for name, gradient in three_steps.gradients.items():
        np.testing.assert_array_equal(net.gradients.views[name], gradient, err_msg=name)


def test_a_picture_of_another_size():
    """The low-level layers then run twice, for the picture and for its copy; pointers instead of descriptors."""
    with watched(80, "reverse", **TILE):
        net, batch = make("gpu", (8, 24))
        net.loss_and_gradients(**batch)
    want, batch = reference((8, 24))
    want.loss_and_gradients(**batch)
    assert_same_gradients(net.gradients.views, want)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_forward(dtype):
    """Every layer rounds its activations: chroma, behind a sigmoid, is off by few roundoffs, the logits by more."""
    with watched(**TILE):
        net, batch = make("gpu", dtype=dtype)
        chroma, logits = net.forward(batch["luminance"])
    assert chroma.dtype == logits.dtype == np.float32
    exact, batch = reference()
    want = exact.forward(batch["luminance"])
    assert relative_error(chroma, want[0]) < 4 * ROUNDOFF[dtype]
    assert relative_error(logits, want[1]) < 20 * ROUNDOFF[dtype]


class Counted(Watched):
    """Starts no kernel, and its arrays are never touched: full width costs nothing."""

    def empty(self, shape, dtype):
        return np.ndarray(shape, dtype)

    def run(self, kernel, grid, args, options):
        self.launches.append(kernel.fn.__name__)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of sums over arrays that nobody wrote
@pytest.mark.parametrize("images", [1, 128])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_launches_of_a_training_step_at_full_width(images, dtype):
    target = Counted(90, "forward")
    old = launch.use(target)
    try:
        net = Network(backend="gpu", dtype=dtype)
        optimizer = Adadelta(net)
        target.launches.clear()
        chroma = np.zeros((images, 112, 112, 2), np.float32)
        net.loss_and_gradients(np.zeros((images, 224, 224, 1), np.float32), chroma, np.zeros(images, int))
        optimizer.step()
    finally:
        launch.use(old)
    assert target.launches.count("step_kernel") == 1
    assert 60 < len(target.launches) <= MOST_LAUNCHES - ARRAY_EXPRESSIONS
