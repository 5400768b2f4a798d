"""A network's work as one CUDA graph: for small batches, where starting 60 to 100 kernels from Python takes longer than
they run. The numbers are the same bits as without."""

from collections.abc import Callable
from typing import Any

from ltbc.kernels.arrays import Array
from ltbc.nn.network import Network


class Replay:
    """`work(**arrays)` of a network on the gpu backend: the first call with arrays of these shapes runs as usual, the
    second records what it starts, and from then on that is replayed on arrays copied into the same places.

    Results are arrays of which every replay overwrites the contents: copy what shall stay. Plain numbers in `work`
    (such as an optimizer's lr) stay what they were at the recording. Pictures must be of the network's global_size, for
    resizing brings its weights from the host. On other backends nothing is recorded, and every call runs as usual.

        step = Replay(net, lambda **batch: (net.loss_and_gradients(**batch), optimizer.step())[0])
        losses = step(luminance=luminance, chroma=chroma, labels=labels)
    """

    def __init__(self, net: Network, work: Callable[..., Any]) -> None:
        self.net, self.work = net, work
        self.shapes: dict[str, Any] = {}
        self.inputs: dict[str, Array] = {}
        self.replay: Callable[[], Any] | None = None

    def __call__(self, **arrays: Array) -> Any:
        if self.net.backend != "gpu":
            return self.work(**arrays)
        shapes = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        if shapes != self.shapes:
            self.shapes, self.replay = shapes, None
            self.inputs = {name: self.net.xp.array(a) for name, a in arrays.items()}
            return self.work(**self.inputs)
        for name, a in arrays.items():
            self.inputs[name][...] = self.net.xp.asarray(a)
        if self.replay is None:
            from ltbc.kernels.gpu import launch

            self.replay = launch.capture(lambda: self.work(**self.inputs))
            used = (self.net.inference, self.net.looking, self.net.training)
            self.buffers = [list(b.arrays.values()) for b in used]  # which the network forgets for other shapes
        return self.replay()
